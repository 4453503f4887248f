"""Cells of tables: how they are written, and which examples they hold."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.fuzz.harness import (
    Example,
    Source,
)

_MISSING = ("", "na", "n/a", "nan", "null", "none", "?")
_MAX_NUMBER = float(np.finfo(np.float32).max)


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


def table_examples(table: Table, options: dict[str, Any]) -> list[Example]:
    """What a table holds: numbers, categories as text, None for a missing cell, and ``<label>``.

    Raises:
        Invalid: it must be refused.
    """
    names, condition, kinds = table.names, options.get("condition"), options.get("kinds", {})
    if len(set(names)) < len(names) or {*kinds, *filter(None, [condition])} - set(names):
        raise Invalid("names")
    rows = [
        ["" if cell.strip().lower() in _MISSING else cell.strip() for cell in row]
        for row in table.rows
    ]
    kept = []
    for row in rows:
        known = [
            cell
            for name, cell in zip(names, row, strict=True)
            if name != condition or options["missing"] == "drop"  # a label may be unknown
        ]
        if options["missing"] == "error" and not all(known):
            raise Invalid("empty")
        if options["missing"] != "drop" or all(row):
            kept.append(row)
    if len(kept) < 3:
        raise Invalid("rows")
    examples: list[Example] = [{} for _ in kept]
    for place, name in enumerate(names):
        cells = [row[place] for row in kept]
        is_number = name != condition and _is_numeric(cells, kinds.get(name))
        if name == condition and not any(cells):
            raise Invalid("labels")
        different = {
            float(cell) if is_number and _is_number(cell) else cell for cell in cells if cell
        }
        if name not in kinds and name != condition and len(different) < 2:
            continue  # constant
        for example, cell in zip(examples, cells, strict=True):
            value = _number(cell) if is_number else cell
            example["<label>" if name == condition else name] = value if cell else None
    return examples


def _is_numeric(cells: Sequence[str], kind: str | None) -> bool:
    """Whether a column holds numbers: by its kind, or if all cells do, without leading zeros."""
    if kind is not None:
        return kind == "numeric"
    given = [cell for cell in cells if cell]
    return all(map(_is_number, given)) and not any(
        re.match(r"[-+]?0\d", cell) for cell in given if _is_number(cell)
    )


def _is_number(cell: str) -> bool:
    """Whether it is a number in ASCII, as Python writes numbers."""
    try:
        float(cell)
    except ValueError:
        return False
    return cell.isascii() and "_" not in cell


def _number(cell: str) -> float | None:
    if cell and not (_is_number(cell) and abs(float(cell)) <= _MAX_NUMBER):
        raise Invalid(cell)
    return float(cell) if cell else None
