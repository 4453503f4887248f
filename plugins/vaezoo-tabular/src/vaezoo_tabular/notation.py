"""Numbers in text: how they are written.

Shapes: n cells.
"""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

import vaezoo

NUMBER = r"^[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$"
"""Numbers with a decimal point, which Arrow reads."""
INFINITE = "no finite value"
_GROUPED = r"^[-+]?[1-9]\d{0,2}(\.\d{3})+(,\d+)?$"
"""Numbers with a decimal comma and points between thousands; 0.125 is none."""
_SWAPPED = str.maketrans(".,", ",.")


def with_points(values: pa.Array, decimal: str) -> pa.Array:
    """Cells in which exactly those that are numbers are numbers with a decimal point.

    Args:
        values: text, ``[n]``.
        decimal: the decimal sign. If it is a comma, points may separate thousands, and a cell such
            as ``1.5`` or ``31.12.2020`` is no number; its points become commas.
    """
    if decimal == ".":
        return values
    is_grouped = pc.match_substring_regex(values, _GROUPED)
    values = pc.if_else(is_grouped, pc.replace_substring(values, ".", ""), values)
    encoded = values.dictionary_encode()
    swapped = [text.translate(_SWAPPED) for text in encoded.dictionary.to_pylist()]
    return pa.array(swapped, pa.string()).take(encoded.indices)


def number_texts(values: pa.Array, decimal: str) -> pa.Array:
    """Cells of any type as text, ``[n]``; numbers have the decimal sign."""
    texts = pc.cast(values, pa.string())
    if decimal == "." or not pa.types.is_floating(values.type):
        return texts
    return pc.replace_substring(texts, ".", decimal)


def first_non_number(values: pa.Array, decimal: str) -> int | None:
    """The row of the first cell of text that is no number; None if all are."""
    is_number = pc.match_substring_regex(with_points(values, decimal), NUMBER)
    place = pc.index(pc.fill_null(is_number, True), pa.scalar(False)).as_py()
    return None if place < 0 else place


def read_numbers(texts: pa.Array) -> tuple[float, np.ndarray]:
    """The share of texts that are numbers; if all are, the numbers ``[n]``, otherwise none."""
    try:
        numbers = np.asarray(pc.cast(texts, pa.float64()))
    except pa.ArrowInvalid:
        numbers = np.empty(0)
    if len(numbers) and np.isfinite(numbers).all():
        return 1.0, numbers
    is_number = pc.match_substring_regex(texts, NUMBER)  # of inf it is false, of 1e999 true
    return pc.mean(pc.cast(is_number, pa.float64())).as_py(), numbers


def other_notation(cell: str, decimal: str) -> str:
    """What of a cell that is no number is written otherwise than in numbers; empty for text."""
    if re.fullmatch(r"[-+]?inf(inity)?", cell, re.I):
        return INFINITE
    if decimal == "," and re.match(NUMBER, cell):
        return "a decimal point"
    return vaezoo.other_notation(cell)


def example(decimal: str) -> str:
    """A number as it should be written."""
    return f"1234{decimal}5"
