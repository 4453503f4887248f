"""The HTML page of a comparison, which refers to no other file."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path

from markupsafe import Markup

from vaezoo.runs.comparison.charts import COLOURS, Series, line_chart, plane, swatch
from vaezoo.runs.comparison.comparing import Column, Comparison
from vaezoo.runs.comparison.subjects import Subject
from vaezoo.runs.comparison.tables import tabulate
from vaezoo.runs.report import pictures
from vaezoo.runs.report.html import style
from vaezoo.utils.errors import VaezooError
from vaezoo.utils.files import write_text

_CURVES = ("elbo", "rate", "distortion")
_SAMPLES = 100
"""How many samples of pretrained weights are drawn."""


def write_page(
    comparison: Comparison, path: Path, *, title: str = "", command: str = "vaezoo compare"
) -> None:
    """Writes the page of a comparison.

    Args:
        comparison: what is compared.
        path: the file to write.
        title: its heading; by default the names of the specs.
        command: what made the page.
    """
    from jinja2 import Environment

    source = resources.files("vaezoo.runs.comparison").joinpath("page.html.j2").read_text("utf-8")
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    table, columns = tabulate(comparison), comparison.columns
    labels = [(column.label, swatch(index)) for index, column in enumerate(columns)]
    names = list(dict.fromkeys(s.name for column in columns for s in column.subjects))
    subjects = [subject for column in columns for subject in column.subjects]
    page = environment.from_string(source).render(
        style=style(),
        colours=COLOURS,
        title=title or _joined(names),
        command=command,
        count=len(subjects),
        breakable=_breakable,
        labels=labels,
        rows=table.rows,
        notes=table.notes,
        statement=comparison.statement,
        diagnoses=[(s.source, str(each)) for s in subjects for each in s.diagnoses],
        pairs=list(_pairs(comparison)),
        charts=list(_charts(comparison)),
        samples=[
            (*labels[i], data) for i, column in enumerate(columns) for data in _sheet(column)
        ],
    )
    write_text(path, page)


def _joined(names: Sequence[str]) -> str:
    """Names in words: ``a, b and c``."""
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _breakable(path: str) -> Markup:
    """The path of an option, which may be broken behind its dots."""
    return Markup(".<wbr>").join(path.split("."))


def _pairs(comparison: Comparison) -> Iterator[tuple[str, ...]]:
    """The cells of the table of differences."""
    labels = [column.label for column in comparison.columns]
    for row in comparison.metrics:
        for pair in row.pairs:
            difference = pair.difference
            yield (
                row.name.replace("_", " "),
                labels[pair.first],
                labels[pair.second],
                f"{difference.mean:.3f}",
                f"{difference.low:.3f} to {difference.high:.3f}",
                f"{pair.adjusted_p:.2g}",
            )


def _charts(comparison: Comparison) -> Iterator[tuple[str, str]]:
    """The captions and drawings of the curves and of the plane."""
    for key in _CURVES:
        series = [
            Series(index, f"{column.label}, seed {subject.seed}", *points)
            for index, column in enumerate(comparison.columns)
            for subject in column.subjects
            if len((points := _curve(subject, key))[0]) > 1
        ]
        if series:
            caption = f"{key} on the validation split during training"
            yield caption, line_chart(series, "step", f"{key}, nats per example")
    places = [
        Series(index, f"{column.label}, seed {subject.seed}", [point[0]], [point[1]])
        for index, column in enumerate(comparison.columns)
        for subject in column.subjects
        if (point := _place(subject)) is not None
    ]
    if places:
        caption = "Rate and distortion of the selected weights on the validation split; the ELBO "
        caption += "is constant along each line"
        yield caption, plane(places, "rate, nats per example", "distortion, nats per example")


def _curve(subject: Subject, key: str) -> tuple[list[float], list[float]]:
    """The steps and the values of a key of the validation records."""
    own = [r for r in subject.records if r["split"] == "validation" and key in r]
    return [record["step"] for record in own], [record[key] for record in own]


def _place(subject: Subject) -> tuple[float, float] | None:
    """Rate and distortion of the selected weights on the validation split; None if not known."""
    records = [r for r in subject.records if r["split"] == "validation" and r.get("best")]
    if not records or not {"rate", "distortion"} <= records[-1].keys():
        return None
    point = records[-1]["rate"], records[-1]["distortion"]
    return point if all(map(math.isfinite, point)) else None


def _sheet(column: Column) -> Iterator[str]:
    """The samples of the first subject as PNG in base64; nothing if there is no such picture."""
    subject = column.subjects[0]
    stored = subject.run.directory.pictures / "samples.png"
    if stored.is_file():
        yield base64.b64encode(stored.read_bytes()).decode()
    elif pictures.is_image(subject.run.model.data):
        try:
            images = subject.run.model.sample(_SAMPLES, seed=subject.seed)
        except (VaezooError, ValueError):  # it needs a condition
            return
        sheet = pictures.grid(images, 10, pictures.zoom_for(images, 10))
        yield base64.b64encode(sheet).decode()
