"""Cells of tables: how they are written, and which examples they hold."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.fuzz.harness import (
    Example,
    Source,
)

_MISSING = ("", "na", "n/a", "nan", "null", "none", "?")


class Invalid(Exception):
    """A table that holds no examples."""


@dataclass
class Table:
    """The cells of a table as text."""

    names: list[str]
    rows: list[list[str]]

    def column(self, name: str) -> list[str]:
        place = self.names.index(name)
        return [row[place] for row in self.rows]

    def set(self, row: int, name: str, cell: str) -> None:
        self.rows[row][self.names.index(name)] = cell


def dump(source: Source, **settings: Any) -> bytes:
    """The file of a table."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n", **settings)
    if source.options.get("header", True):
        writer.writerow(source.content.names)
    writer.writerows(source.content.rows)
    return stream.getvalue().encode("utf-8", "surrogatepass")


def is_used(name: str, options: dict[str, Any]) -> bool:
    """Whether a column is a part of the examples or their label."""
    if "numeric" not in options or "categorical" not in options:
        return True
    return name in (*options["numeric"], *options["categorical"], options.get("condition"))


def table_examples(table: Table, options: dict[str, Any]) -> list[Example]:
    """What a table holds: numbers, categories as text, None for a mean, and ``<label>``.

    Raises:
        Invalid: it must be refused.
    """
    names, condition = table.names, options.get("condition")
    named = {
        *options.get("numeric", ()),
        *options.get("categorical", ()),
        *filter(None, [condition]),
    }
    if len(set(names)) < len(names) or named - set(names):
        raise Invalid("names")
    rows = [
        ["" if cell.strip().lower() in _MISSING else cell.strip() for cell in row]
        for row in table.rows
    ]
    used = [name for name in names if is_used(name, options)]
    kept = []
    for row in rows:
        empty = [name for name, cell in zip(names, row, strict=True) if not cell and name in used]
        if options["missing"] != "drop":  # a label may be unknown
            empty = [name for name in empty if name != condition]
        if empty and options["missing"] == "error":
            raise Invalid("empty")
        if not empty or options["missing"] == "mean":
            kept.append(row)
    if len(kept) < 3:
        raise Invalid("rows")
    examples: list[Example] = [{} for _ in kept]
    for place, name in enumerate(names):
        cells = [row[place] for row in kept]
        if name == condition:
            is_number, key = False, "<label>"
            if not any(cells):
                raise Invalid("labels")
        elif name in used:
            is_number, key = _is_numeric(name, cells, options), name
        else:
            continue
        for example, cell in zip(examples, cells, strict=True):
            example[key] = _number(cell) if is_number else cell
    return examples


def _is_numeric(name: str, cells: Sequence[str], options: dict[str, Any]) -> bool:
    if "numeric" in options:
        return name in options["numeric"]
    return name not in options.get("categorical", ()) and all(
        not cell or _is_number(cell) for cell in cells
    )


def _is_number(cell: str) -> bool:
    """Whether it is a number in ASCII, as Python writes numbers."""
    try:
        float(cell)
    except ValueError:
        return False
    return cell.isascii() and "_" not in cell


def _number(cell: str) -> float | None:
    if cell and not (_is_number(cell) and math.isfinite(float(cell))):
        raise Invalid(cell)
    return float(cell) if cell else None
