"""What the cells of a table hold: numbers, nothing, or numbers that are written in another way."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

_MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "?"})
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?|[-+]?(inf(inity)?|nan)", re.I | re.A)
_GROUPS = r"\d+[.,]\d+|\d{1,3}(?:[,.'_ ]\d{3})+(?:[.,]\d+)?|\d+"
_WRITTEN = re.compile(
    rf"[-+]?\s?(?P<before>[$€£¥])?\s?(?P<number>{_GROUPS})\s?(?P<after>[%$€£¥])?", re.A
)
_MAX_CODES = 10
"""The greatest number of different numbers that may as well be codes of categories."""
_MIN_NUMERIC_SHARE = 0.9
"""The share of cells that are numbers, from which a column probably holds numbers."""


def is_missing(cell: str) -> bool:
    """Whether a cell says that it has no value."""
    return cell.strip().lower() in _MISSING


def is_number(cell: str) -> bool:
    """Whether a cell is a number in digits, with a decimal point; also NaN and infinity."""
    return _NUMBER.fullmatch(cell.strip()) is not None


def has_leading_zeros(cell: str) -> bool:
    """Whether a number begins with a 0 that it does not need, as codes do."""
    return re.fullmatch(r"[-+]?0\d+", cell, re.A) is not None


def other_notation(cell: str) -> str:
    """What of a number is written otherwise than it is read, such as ``a decimal comma``.

    Empty for numbers that are read, and for text.
    """
    match = None if is_number(cell) else _WRITTEN.fullmatch(cell)
    if match is None:
        return ""
    sign = match["before"] or match["after"]
    if sign is not None:
        return "a percent sign" if sign == "%" else "a currency sign"
    if re.fullmatch(r"\d{1,3},\d{3}", match["number"]):
        return "a comma"
    is_decimal = re.fullmatch(r"\d+,\d+", match["number"])
    return "a decimal comma" if is_decimal else "separators of thousands"


def parse_number(cell: str) -> float:
    """The number in a cell of a table: in digits, with a decimal point.

    Returns:
        NaN if the cell has no value: it is empty, NA, N/A, NaN, null, none or ?.

    Raises:
        ValueError: it holds text; says what keeps it from being a number.
    """
    cell = cell.strip()
    if is_number(cell):
        return float(cell)
    if is_missing(cell):
        return math.nan
    notation = other_notation(cell)
    raise ValueError(f"has {notation}; write it as 1234.5" if notation else "is not a number")


def first_non_number(cells: Sequence[str]) -> int | None:
    """The place of the first cell that keeps a column of numbers from being one.

    Args:
        cells: those of a column, empty where it has no value.

    Returns:
        None if the column holds numbers only, or probably categories: text, or a few codes.
    """
    odd = [place for place, cell in enumerate(cells) if cell and not is_number(cell)]
    if not odd:
        return None
    filled = [cell for cell in cells if cell]
    numbers = [cell for cell in filled if is_number(cell) or other_notation(cell)]
    has_fractions = any(
        "." in cell or other_notation(cell) == "a decimal comma" for cell in numbers
    )
    is_likely = has_fractions or len(set(numbers)) > _MAX_CODES
    return odd[0] if is_likely and len(numbers) >= _MIN_NUMERIC_SHARE * len(filled) else None
