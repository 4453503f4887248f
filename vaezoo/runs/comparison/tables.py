"""A comparison as rows of text, as Markdown, as JSON values, and as records of a data frame."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from vaezoo.runs.comparison.comparing import Column, Comparison, MetricRow
from vaezoo.runs.comparison.subjects import Subject
from vaezoo.spec.dump import dump_inline

MARK = "*"
"""Stands behind the best value."""
_NOTHING = "-"


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes:
        heading: its name, with the numbers of its footnotes.
        cells: a text for each column.
        best: the column that is marked.
        kind: ``spec``, ``run`` or ``metric``.
    """

    heading: str
    cells: Sequence[str]
    best: int | None = None
    kind: str = "run"


@dataclass(frozen=True)
class Table:
    """A comparison as text.

    Attributes:
        labels: those of the columns.
        rows: the rows.
        notes: the footnotes; note i is called i + 1 in the rows.
    """

    labels: Sequence[str]
    rows: Sequence[Row]
    notes: Sequence[str]


def tabulate(comparison: Comparison) -> Table:
    """The rows and footnotes of a comparison."""
    columns, notes = comparison.columns, list[str]()
    rows = [
        Row(path, [_option(value) for value in values], kind="spec")
        for path, values in comparison.options.items()
    ]
    seeds = [", ".join(str(s.seed) for s in column.subjects) for column in columns]
    if len(set(seeds)) > 1:
        rows.insert(0, Row("seed", seeds, kind="spec"))
    for heading, read in _FACTS:
        cells = [read(column) for column in columns]
        if any(cell != _NOTHING for cell in cells):
            rows.append(Row(heading, cells))
    for metric in comparison.metrics:
        heading = metric.name.replace("_", " ")
        arrow = {1: " (higher is better)", -1: " (lower is better)", 0: ""}[metric.direction]
        if metric.unranked:
            note = f"not ranked: {metric.unranked}"
            if note not in notes:
                notes.append(note)
            arrow += f" [{notes.index(note) + 1}]"
        cells = [_metric(value) for value in metric.values]
        rows.append(Row(f"{heading}{arrow}", cells, metric.best, "metric"))
    return Table([column.label for column in columns], rows, notes)


def cell_texts(row: Row) -> list[str]:
    """The cells of a row, with a mark behind the best."""
    return [f"{cell} {MARK}" if i == row.best else cell for i, cell in enumerate(row.cells)]


def as_markdown(comparison: Comparison) -> str:
    """The comparison as Markdown: a table with the best values in bold, and notes."""
    table = tabulate(comparison)
    lines = [_line(["", *table.labels]), _line(["---"] * (len(table.labels) + 1))]
    for row in table.rows:
        cells = [f"**{_cell(c)}**" if i == row.best else _cell(c) for i, c in enumerate(row.cells)]
        lines.append(f"| {_cell(row.heading)} | {' | '.join(cells)} |")
    notes = [f"[{number}] {note}" for number, note in enumerate(table.notes, 1)]
    text = "\n\n".join(_cell(note) for note in [comparison.statement, *notes])
    return "\n".join(lines) + f"\n\n{text}\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(_cell, cells))} |"


def _cell(text: str) -> str:
    """A text that ends no cell and begins no markup."""
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("*", "\\*").replace("\n", " ")


def as_json(comparison: Comparison) -> dict[str, Any]:
    """The comparison as JSON values."""
    labels = [column.label for column in comparison.columns]
    return {
        "claim": comparison.claim,
        "statement": comparison.statement,
        "columns": [
            {"label": column.label, "runs": [_subject(s) for s in column.subjects]}
            for column in comparison.columns
        ],
        "options": {
            path: dict(zip(labels, values, strict=True))
            for path, values in comparison.options.items()
        },
        "metrics": {row.name: _metric_json(row, labels) for row in comparison.metrics},
    }


def _subject(subject: Subject) -> dict[str, Any]:
    return {
        "run": subject.source,
        "name": subject.name,
        "seed": subject.seed,
        "split": subject.split,
        "parameters": subject.parameters,
        "seconds": subject.seconds,
        "examples_per_second": subject.examples_per_second,
        "diagnoses": [each.kind for each in subject.diagnoses],
        "metrics": {name: row["value"] for name, row in subject.metrics.items()},
    }


def _metric_json(row: MetricRow, labels: Sequence[str]) -> dict[str, Any]:
    return {
        "unit": row.unit,
        "higher_is_better": {1: True, -1: False, 0: None}[row.direction],
        "values": {
            label: None if value is None else {"value": value[0], "standard_error": value[1]}
            for label, value in zip(labels, row.values, strict=True)
        },
        "best": None if row.best is None else labels[row.best],
        "not_ranked": row.unranked or None,
        "pairs": [
            {
                "first": labels[pair.first],
                "second": labels[pair.second],
                "difference": pair.difference.mean,
                "low": pair.difference.low,
                "high": pair.difference.high,
                "p": pair.difference.p,
                "adjusted_p": pair.adjusted_p,
                "differs": pair.differs,
            }
            for pair in row.pairs
        ],
    }


def as_records(comparison: Comparison) -> list[dict[str, Any]]:
    """A record for each run: what it is, its options that differ, and its metrics; ``NAME_best``
    says whether its column is marked."""
    records = []
    for index, column in enumerate(comparison.columns):
        options = {path: values[index] for path, values in comparison.options.items()}
        for subject in column.subjects:
            record = {
                "run": subject.source,
                "label": column.label,
                "claim": comparison.claim,
                "seed": subject.seed,
                "parameters": subject.parameters,
                "seconds": subject.seconds,
                "examples_per_second": subject.examples_per_second,
                "diagnosis": ", ".join(each.kind for each in subject.diagnoses),
                **{path: _plain(value) for path, value in options.items()},
            }
            for row in comparison.metrics:
                measured = subject.metrics.get(row.name)
                record[row.name] = None if measured is None else measured["value"]
                error = None if measured is None else measured["standard_error"]
                record[f"{row.name}_error"] = error
                record[f"{row.name}_best"] = row.best == index
            records.append(record)
    return records


def _plain(value: Any) -> Any:
    """An option as a cell of a data frame, whose columns have one type."""
    return value if isinstance(value, int | float | str) or value is None else _option(value)


def _option(value: Any) -> str:
    return _NOTHING if value is None else dump_inline(value)


def _metric(value: tuple[float, float | None] | None) -> str:
    if value is None:
        return _NOTHING
    number, error = value
    return f"{number:.4g}" if error is None else f"{number:.3f} ± {error:.3f}"


def _mean(numbers: Sequence[float | None]) -> float | None:
    known = [number for number in numbers if number is not None]
    return statistics.mean(known) if len(known) == len(numbers) else None


def _parameters(column: Column) -> str:
    return f"{column.subjects[0].parameters:,}"


def _seconds(column: Column) -> str:
    seconds = _mean([subject.seconds for subject in column.subjects])
    if seconds is None:
        return _NOTHING
    return f"{seconds:.1f} s" if seconds < 600 else f"{seconds / 60:.0f} min"


def _speed(column: Column) -> str:
    speed = _mean([subject.examples_per_second for subject in column.subjects])
    return _NOTHING if speed is None else f"{speed:,.0f}"


def _diagnoses(column: Column) -> str:
    kinds = [each.kind for subject in column.subjects for each in subject.diagnoses]
    counts = {kind: kinds.count(kind) for kind in kinds}
    of = f" of {len(column.subjects)}" if len(column.subjects) > 1 else ""
    return ", ".join(f"{k} ({n}{of})" if of else k for k, n in counts.items()) or _NOTHING


def _split(column: Column) -> str:
    return ", ".join(dict.fromkeys(subject.split for subject in column.subjects))


_FACTS: tuple[tuple[str, Callable[[Column], str]], ...] = (
    ("parameters", _parameters),
    ("training time", _seconds),
    ("examples/s", _speed),
    ("diagnosis", _diagnoses),
    ("evaluated split", _split),
)
"""The rows of what a run is, with what reads them."""
