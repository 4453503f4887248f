"""Output of commands: tables and JSON on stdout, progress and messages on stderr."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from vaezoo.utils.errors import printable, printable_lines
from vaezoo.utils.json_text import json_text

SCHEMA_VERSION = 1

json_option = click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print the results as one JSON document on stdout, and nothing else there.",
)
processes_option = click.option(
    "--processes",
    default=1,
    show_default=True,
    type=click.IntRange(1, 256),
    help="How many runs are trained at the same time.",
)
retry_option = click.option("--retry", is_flag=True, help="Try runs again that failed before.")
overrides_option = click.option(
    "-s",
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override an option of the spec, such as train.epochs=3. May be repeated.",
)


def echo(text: str, *, err: bool = False, nl: bool = True) -> None:
    """Prints a text; characters that could act on the terminal are escaped."""
    click.echo(printable_lines(text), err=err, nl=nl)


def print_json(content: Mapping[str, Any]) -> None:
    """Prints JSON on stdout."""
    document = {"schema_version": SCHEMA_VERSION, **content}
    text = json_text(document, indent=2)
    # what a terminal could act on is written as JSON escapes, which mean the same
    click.echo(
        "".join(
            character
            if character.isprintable() or character == "\n"
            else json.dumps(character, allow_nan=False)[1:-1]
            for character in text
        )
    )


def line_printer(ctx: click.Context) -> Callable[[str], None]:
    """A function that prints a line on stderr; with ``--quiet`` it prints nothing."""
    return (lambda line: None) if ctx.obj["quiet"] else print_to_stderr


_print_above: Callable[[str], None] | None = None
"""Prints a line above the one at the bottom of the terminal, while there is one."""


@contextlib.contextmanager
def bottom_line(print_above: Callable[[str], None]) -> Iterator[None]:
    """Has lines for stderr printed by ``print_above`` within a block."""
    global _print_above
    outer, _print_above = _print_above, print_above
    try:
        yield
    finally:
        _print_above = outer


def print_to_stderr(line: str) -> None:
    """Prints a line on stderr. A closed stderr is ignored, so that training continues."""
    with contextlib.suppress(OSError):
        if _print_above is not None:
            _print_above(printable_lines(line))
        else:
            echo(line, err=True)


def report_files(
    ctx: click.Context,
    files: Sequence[Path],
    *notes: str,
    as_json: bool,
    what: str = "",
    content: Mapping[str, Any],
) -> None:
    """Says which files a command wrote, and what is to be known of them.

    Args:
        ctx: the context of the command.
        files: the files in their order.
        notes: lines for users.
        as_json: whether to print a JSON document on stdout with ``files`` and the content.
        what: what is in the files, such as ``270 scores``.
        content: what else the document holds.
    """
    if as_json:
        print_json({"files": [str(file) for file in files], **content})
        return
    last = files[-1]
    ends = {1: "", 2: f" and {last}"}
    where = f"{files[0]}{ends.get(len(files), f' to {last.name}')}"
    for line in (f"wrote {what} to {where}" if what else f"wrote {where}", *notes):
        line_printer(ctx)(line)


def table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Prints a table on stdout: formatted on a terminal, otherwise as plain columns."""
    cells = [[_encodable(printable(cell)) for cell in row] for row in rows]
    if sys.stdout.isatty():
        from rich.box import SIMPLE_HEAD
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        rich_table = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False)
        for heading in headings:  # where there is no room, cells are broken, not cut
            rich_table.add_column(heading, overflow="fold")
        for row in cells:
            rich_table.add_row(*map(Text, row))
        Console().print(rich_table)
        return
    widths = [max(map(len, column)) for column in zip(headings, *cells, strict=True)]
    for row in (list(headings), *cells):
        echo(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )


def _encodable(text: str) -> str:
    """A text in which an ASCII terminal gets +- for its only usual character that is not ASCII."""
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return text.replace("±", "+-")
    return text


def metrics_table(evaluation: Mapping[str, Any]) -> None:
    """Prints the metrics of an evaluation as a table."""
    from vaezoo.evaluation.evaluate import metric_rows

    sampler = f", sampler {evaluation['sampler']}" if "sampler" in evaluation else ""
    table(
        (evaluation["split"] + sampler, "value", "unit", "measured with"), metric_rows(evaluation)
    )
