"""The command ``vaezoo compare``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from vaezoo.cli.bottom_line import working
from vaezoo.cli.output import echo, json_option, line_printer, print_json, table
from vaezoo.cli.registry_option import registry_option
from vaezoo.cli.shared import device_option
from vaezoo.utils.errors import UsageError

if TYPE_CHECKING:
    from vaezoo.runs.comparison.comparing import Comparison

_MOST_COLUMNS = 4
"""With more of them, the results have a row for each run in place of a column."""


@click.command("compare")
@click.argument("names", nargs=-1, required=True, metavar="RUN|WEIGHTS...")
@click.option(
    "--evaluate",
    "does_evaluate",
    is_flag=True,
    help="Evaluate those whose metrics of single examples are not stored, such as weights.",
)
@click.option(
    "--format",
    "text_format",
    type=click.Choice(["table", "markdown"]),
    default="table",
    show_default=True,
    help="The form of the output.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE.html",
    help="Also write a page with tables, curves, a rate-distortion plane and samples.",
)
@registry_option
@device_option
@json_option
@click.pass_context
def compare_command(
    ctx: click.Context,
    *,
    names: tuple[str, ...],
    does_evaluate: bool,
    text_format: str,
    out: Path | None,
    device: str,
    as_json: bool,
) -> None:
    """Compare runs and pretrained weights: specs, parameters, time, speed and every metric.

    The best value of a metric is marked where it is better than every other one beyond chance.
    With at least three seeds of each spec the claim is about specs, otherwise about these weights.
    Metrics that were measured in different ways are shown, but never marked; a note says why.
    """
    from vaezoo.utils.allocator import tune_allocator

    tune_allocator()
    from vaezoo.runs.comparison.frame import compare_runs
    from vaezoo.runs.comparison.tables import as_json as json_of
    from vaezoo.runs.comparison.tables import as_markdown

    if out is not None and out.suffix != ".html":
        raise UsageError(f"{out}: the page must end in .html")
    with working("comparing"):
        comparison = compare_runs(names, evaluate=does_evaluate, device=device)
    if out is not None:
        from vaezoo.runs.comparison.page import write_page

        with working("drawing the page"):
            write_page(comparison, out)
    if as_json:
        print_json({**json_of(comparison), "files": [str(out)] if out else []})
    elif text_format == "markdown":
        echo(as_markdown(comparison), nl=False)
    else:
        _print_table(comparison)
    if out is not None and not as_json:
        line_printer(ctx)(f"wrote {out}")


def _print_table(comparison: Comparison) -> None:
    """Prints the table, what its marks mean, and its footnotes."""
    from vaezoo.runs.comparison.tables import MARK, cell_texts, tabulate

    content = tabulate(comparison)
    rows = [[row.heading, *cell_texts(row)] for row in content.rows]
    headings = ["", *content.labels]
    if len(content.labels) > _MOST_COLUMNS:
        numbers = [str(number) for number in range(1, len(headings))]
        options = [
            each for row, each in zip(content.rows, rows, strict=True) if row.kind == "spec"
        ]
        table(["", *numbers], options)
        headings = ["", *map(" ".join, zip(numbers, content.labels, strict=True))]
        results = [
            each for row, each in zip(content.rows, rows, strict=True) if row.kind != "spec"
        ]
        headings, *rows = [list(line) for line in zip(headings, *results, strict=True)]
    table(headings, rows)
    echo(f"{MARK} {comparison.statement}")
    for number, note in enumerate(content.notes, 1):
        echo(f"[{number}] {note}")
    for column in comparison.columns:
        for subject in column.subjects:
            for diagnosis in subject.diagnoses:
                echo(f"{subject.source}: {diagnosis}")
