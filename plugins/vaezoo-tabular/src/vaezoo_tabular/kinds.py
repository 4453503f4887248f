"""Finds out what the columns of a table hold.

Shapes: n rows.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vaezoo_tabular.dates import DATE_FORMATS, iso_format, parse_dates
from vaezoo_tabular.notation import (
    INFINITE,
    NUMBER,
    example,
    other_notation,
    read_numbers,
    with_points,
)

Kind: TypeAlias = Literal[
    "numeric",
    "integer",
    "count",
    "categorical",
    "boolean",
    "datetime",
    "identifier",
    "constant",
    "text",
    "ignore",
]
"""What a column holds. The last four are not modelled."""

MISSING = ("", "na", "n/a", "nan", "null", "none", "?")
"""What cells of text without a value hold, in small letters."""
MISSING_IN_ANY_CASE = pa.array(
    sorted(
        {
            "".join(letters)
            for word in MISSING
            for letters in itertools.product(*((c, c.upper()) for c in word))
        }
    )
)
_WORDS_OF_TEXT = 5
_MIN_NUMERIC_SHARE = 0.9
"""The share of different cells that are numbers, from which a column probably holds numbers."""
_MAX_CODES = 10
"""The greatest number of different numbers that may as well be codes of categories."""
_MAX_NOTATIONS = 1000
"""How many different cells are looked at for numbers in other notations."""
_OTHER_SIGN = {".": ",", ",": "."}
_MIN_ROWS_OF_IDENTIFIER = 20


@dataclass(frozen=True)
class Finding:
    """What a column holds, and why.

    Attributes:
        kind: the kind of the column.
        values: its values: float64 with NaN, text with nulls, or timestamps, as an Arrow array.
        date_format: the format of dates in text.
        note: what users should check, or nothing.
        odd, problem: a cell that keeps the column from being one of numbers, and why it is
            refused; empty if none is.
    """

    kind: Kind
    values: pa.Array
    date_format: str = ""
    note: str = ""
    odd: str = ""
    problem: str = ""


def clean_text(cells: pa.Array) -> pa.Array:
    """Cells of text without spaces around them; null where they have no value."""
    trimmed = pc.utf8_trim_whitespace(cells)
    is_missing = pc.is_in(trimmed, MISSING_IN_ANY_CASE)
    return pc.if_else(is_missing, pa.scalar(None, trimmed.type), trimmed)


def find_kind(name: str, values: pa.Array, decimal: str) -> Finding:
    """The kind of a column by its values.

    Args:
        name: its name.
        values: its cells: clean text, or values of another type of Arrow.
        decimal: the decimal sign of numbers in text.
    """
    if _is_text(values.type):
        distinct = pc.unique(values).drop_null()
        if len(distinct) <= 1:
            return Finding(_kind_of_one_value(values), values)
        return _kind_of_text(name, values, distinct, decimal)
    ends = pc.min_max(values).as_py()
    if ends["min"] == ends["max"]:
        return Finding(_kind_of_one_value(values), values)
    if pa.types.is_boolean(values.type):
        return Finding("boolean", values)
    if pa.types.is_temporal(values.type):
        return Finding("datetime", values)
    if pa.types.is_integer(values.type) or _all_whole(values):
        return _kind_of_integers(name, values, decimal)
    return Finding("numeric", values)


def _kind_of_one_value(values: pa.Array) -> Kind:
    """The kind of a column with one value: a flag, such as x or nothing, if cells are missing."""
    return "categorical" if 0 < values.null_count < len(values) else "constant"


def numbers_of(values: pa.Array, decimal: str) -> np.ndarray:
    """Numbers float64 ``[n]``; NaN where there is none.

    Raises:
        pa.ArrowInvalid: a cell of text is no number.
    """
    if _is_text(values.type):
        values = with_points(values, decimal)
    if pa.types.is_decimal(values.type) or not pa.types.is_floating(values.type):
        values = pc.cast(values, pa.float64(), safe=False)
    return np.asarray(pc.fill_null(values, np.nan).to_numpy(zero_copy_only=False), np.float64)


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def has_any(texts: pa.Array, *parts: str) -> bool:
    """Whether a part occurs in one of the texts."""
    return any(pc.any(pc.match_substring(texts, part)).as_py() for part in parts)


def _has_leading_zeros(numbers: pa.Array) -> bool:
    """Whether a number is written with a zero before another digit, such as 007."""
    signed = has_any(numbers, "-", "+")
    digits = pc.utf8_ltrim(numbers, "+-") if signed else numbers
    begins = digits.filter(pc.starts_with(digits, "0"))
    second = pc.utf8_slice_codeunits(begins, 1, 2)
    return bool(pc.any(pc.is_in(second, pa.array(list("0123456789")))).as_py())


def _all_whole(values: pa.Array) -> bool:
    numbers = numbers_of(values, ".")
    numbers = numbers[np.isfinite(numbers)]
    return bool((numbers == np.floor(numbers)).all())


def _kind_of_text(name: str, values: pa.Array, distinct: pa.Array, decimal: str) -> Finding:
    """The kind of a column of text, from its different values."""
    low = {value.lower() for value in distinct[:3].to_pylist()}
    if len(distinct) == 2 and low == {"true", "false"}:
        return Finding("boolean", values)
    numbers = with_points(distinct, decimal)
    share, read = read_numbers(numbers)
    if share == 1:
        if len(distinct) <= _MAX_CODES and len(np.unique(read)) == 1:
            kind: Kind = "numeric" if values.null_count else "constant"
            return Finding(kind, values)  # such as 1 and 1.0
        if _has_leading_zeros(numbers):
            note = f"zeros before numbers of column {name!r}, which is read as categories"
            return _kind_of_words(name, values, distinct, note)
        if has_any(numbers, ".", "e", "E"):
            return Finding("numeric", values)
        return _kind_of_integers(name, values, decimal)
    for date_format in DATE_FORMATS:
        if not parse_dates(distinct, date_format).null_count:
            return Finding(
                "datetime", values, date_format, _ambiguous_date(name, distinct, date_format)
            )
    date_format = iso_format(distinct)
    if date_format:
        return Finding("datetime", values, date_format)
    note, others = "", distinct.filter(pc.invert(pc.match_substring_regex(numbers, NUMBER)))
    odd, problem = _refused_notation(others, numbers, decimal)
    if problem:
        return Finding("text", values, odd=odd, problem=problem)
    if share > _MIN_NUMERIC_SHARE and len(distinct) > _MAX_CODES:
        odd = others[0].as_py()
        note = f"numbers of column {name!r} ({odd!r} is none, so that it is read as text)"
    return _kind_of_words(name, values, distinct, note)


def _refused_notation(others: pa.Array, numbers: pa.Array, decimal: str) -> tuple[str, str]:
    """A cell that is a number in a notation that is not read, and what to do.

    Args:
        others: the different cells of a column that are no numbers.
        numbers: all different cells, with a decimal point.
        decimal: the decimal sign of numbers.

    Returns:
        Empty texts if the column holds no numbers, or a few, which may be codes.
    """
    sample = others[:_MAX_NOTATIONS].to_pylist()
    written = [(cell, other_notation(cell, decimal)) for cell in sample]
    odd = [(cell, what) for cell, what in written if what]
    count = len(numbers) - len(others) + len(odd)
    has_fractions = pc.any(pc.match_substring_regex(numbers, r"^[^a-zA-Z]*[.,]\d")).as_py()
    is_likely = has_fractions or count > _MAX_CODES
    share = count / (count + len(written) - len(odd))
    is_infinite = all(what == INFINITE for _, what in written)
    if not odd or not (is_infinite or (is_likely and share >= _MIN_NUMERIC_SHARE)):
        return "", ""
    cell, what = odd[0]
    advice = f"write numbers such as {example(decimal)}"
    if what in ("a decimal comma", "a decimal point"):
        advice += f', set decimal: "{_OTHER_SIGN[decimal]}"'
    return cell, f"has {what}; {advice}, or set the kind of the column to categorical"


def _ambiguous_date(name: str, distinct: pa.Array, date_format: str) -> str:
    """A note if days and months of dates may be the other way round."""
    swapped = {"%m/%d/%Y": "%d/%m/%Y", "%m/%d/%Y %H:%M": "%d/%m/%Y %H:%M"}.get(date_format)
    if swapped is None or parse_dates(distinct, swapped).null_count:
        return ""
    return f"dates of column {name!r}, which are read as {date_format}; otherwise set dates"


def _kind_of_integers(name: str, values: pa.Array, decimal: str) -> Finding:
    """Integers, or numbers that only name the rows."""
    n = len(values)
    if values.null_count or n < _MIN_ROWS_OF_IDENTIFIER:
        return Finding("integer", values)
    numbers = numbers_of(values, decimal)
    span = numbers.max() - numbers.min()
    if span >= n - 1 and len(np.unique(numbers)) == n:  # otherwise they cannot all differ
        is_run = span == n - 1
        if is_run or re.search(r"(^|[_\W])(id|key|index)$", name, re.I) or not name.strip():
            return Finding("identifier", values)
    return Finding("integer", values)


def _kind_of_words(name: str, values: pa.Array, distinct: pa.Array, note: str) -> Finding:
    """Categories, words that name the rows, or text."""
    n = len(values) - values.null_count
    if n < _MIN_ROWS_OF_IDENTIFIER or len(distinct) <= n // 2:
        return Finding("categorical", values, note=note)
    words = pc.mean(pc.add(pc.count_substring(distinct, " "), 1)).as_py()
    if words >= _WORDS_OF_TEXT:
        return Finding("text", values, note=note)
    kind: Kind = "identifier" if len(distinct) == n else "categorical"
    return Finding(kind, values, note=note)
