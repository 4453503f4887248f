"""Which cases of a suite are better than all others beyond chance, and the page about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from vaezoo.bench.leaderboard import Row
from vaezoo.runs.comparison.comparing import Comparison
from vaezoo.runs.comparison.frame import compare_runs


def rank_rows(rows: Sequence[Row]) -> Comparison | None:
    """Compares the measured runs of a suite; None if there are fewer than two.

    With at least three seeds of each case the claim is about the specs, over seeds. Cases whose
    specs are equal, such as a chosen setting that is another case, share a column.
    """
    cases = {run: row.name for row in rows for run in row.runs}
    if len(cases) < 2:
        return None
    comparison = compare_runs(list(cases))
    columns = []
    for column in comparison.columns:
        names = dict.fromkeys(cases[str(subject.run.path)] for subject in column.subjects)
        label = " = ".join(names)
        if comparison.claim == "weights":
            label += f", seed {column.subjects[0].seed}"
        columns.append(replace(column, label=label))
    return replace(comparison, columns=columns)


def best_cases(comparison: Comparison | None) -> dict[str, str]:
    """The label of the best column of each metric that has one."""
    if comparison is None:
        return {}
    return {
        row.name: comparison.columns[row.best].label
        for row in comparison.metrics
        if row.best is not None
    }


def write_index(comparison: Comparison, folder: Path, title: str) -> Path:
    """Writes ``index.html`` with the table, curves and samples of a suite; returns its path."""
    from vaezoo.runs.comparison.page import write_page

    path = folder / "index.html"
    write_page(comparison, path, title=title, command="vaezoo bench")
    return path
