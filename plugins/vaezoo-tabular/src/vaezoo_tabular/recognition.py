"""Recognises how a csv file is written from its first lines."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from vaezoo_tabular.csv_output import SEPARATORS, CsvForm

NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", re.I | re.A)
_COMMA_IN_NUMBER = re.compile(r"(?<=\d),(?=\d)", re.A)
_GROUPED = re.compile(r"[-+]?[1-9]\d{0,2}(\.\d{3})+", re.A)
_DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d+", re.A)


def guess_separator(path: Path, sample: str, likely: CsvForm | None) -> str:
    """The separator of the first line: a tab, or the one that occurs most outside of quotes.

    If none does, or several equally often, it is the likely one; commas may be those of numbers.
    """
    if ".tsv" in path.name.lower():
        return "\t"
    first = re.sub(r'"[^"]*"', "", sample.lstrip("\r\n")).split("\n", 1)[0]
    without = _COMMA_IN_NUMBER.sub("", first)
    has_others = any(each in first for each in SEPARATORS[1:])
    if has_others or (likely is not None and likely.decimal == "," and likely.separator != ","):
        first = without
    most = max(map(first.count, SEPARATORS))
    found = [each for each in SEPARATORS if first.count(each) == most]
    if likely is not None and (most == 0 or likely.separator in found):
        return likely.separator
    return found[0]


def guess_decimal(rows: Sequence[Sequence[str]], separator: str, likely: CsvForm | None) -> str:
    """A decimal comma, if cells of the rows have one and none has a decimal point.

    If numbers have both or none, it is the likely sign; points may be those between thousands.
    """
    cells = [cell for row in rows for cell in row]
    prefers_comma = likely is not None and likely.decimal == ","
    can_have = separator != "," or prefers_comma
    has_comma = can_have and any(map(_DECIMAL_COMMA.fullmatch, cells))
    points = [cell for cell in cells if "." in cell and NUMBER.fullmatch(cell)]
    if prefers_comma:
        return "," if has_comma or all(map(_GROUPED.fullmatch, points)) else "."
    return "," if has_comma and not points else "."


def looks_like_header(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first row names the columns: it is not made of numbers as the others are."""
    numbers = [bool(NUMBER.fullmatch(cell)) for cell in rows[0]]
    below = [bool(NUMBER.fullmatch(cell)) for cell in rows[1]] if len(rows) > 1 else []
    if any(not cell for cell in rows[0]) or len(set(rows[0])) < len(rows[0]):
        return bool(below) and numbers != below  # names, which are then refused
    if any(numbers) and below:
        years = [cell for cell, is_number in zip(rows[0], numbers, strict=True) if is_number]
        has_years = all(re.fullmatch(r"(19|20)\d\d", cell) for cell in years)
        return has_years or not any(a and b for a, b in zip(numbers, below, strict=False))
    return True
