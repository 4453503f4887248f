"""What the cells of a table hold: numbers, nothing, or numbers that are written in another way."""

from __future__ import annotations

import math
import re

_MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "?"})
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?|[-+]?(inf(inity)?|nan)", re.I | re.A)
_GROUPS = r"\d+[.,]\d+|\d{1,3}(?:[,.'_ ]\d{3})+(?:[.,]\d+)?|\d+"
_WRITTEN = re.compile(
    rf"[-+]?\s?(?P<before>[$€£¥])?\s?(?P<number>{_GROUPS})\s?(?P<after>[%$€£¥])?", re.A
)


def is_missing(cell: str) -> bool:
    """Whether a cell says that it has no value."""
    return cell.strip().lower() in _MISSING


def is_number(cell: str) -> bool:
    """Whether a cell is a number in digits, with a decimal point; also NaN and infinity."""
    return _NUMBER.fullmatch(cell.strip()) is not None


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
