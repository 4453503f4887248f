"""Describes columns of numbers and dates: scale, digits, known values and bins.

Shapes: n rows.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

import vaezoo
from vaezoo_tabular.checks import read_values
from vaezoo_tabular.columns import Column
from vaezoo_tabular.kinds import has_any
from vaezoo_tabular.pieces import divide_bins
from vaezoo_tabular.source import Source

_MAX_DECIMALS = 9
_RESOLUTION = 2.5e-7
"""The relative distance from which numbers differ in float32."""
_SPIKE, _ROWS_OF_SPIKE = 0.002, 20
"""The share and the number of rows from which a value of a column with many has a probability of
its own."""


def fit_numbers(
    source: Source,
    column: Column,
    cells: pa.Array,
    train: np.ndarray,
    *,
    max_values: int,
    bins: int,
) -> tuple[Column, np.ndarray, str]:
    """A column of numbers or dates: its scale, and the values or bins of its training rows.

    Values that are one in float32, as others are very large, are one; a note says so.

    Args:
        source: the table.
        column: its name, kind and type.
        cells: its cells.
        train: the indices of the training rows.
        max_values: a column with more different values has bins.
        bins: the number of bins.

    Returns:
        The column, the values of all rows ``[n]``, and what users should check, or nothing.

    Raises:
        vaezoo.DataError: no training row has a number.
    """
    values = read_values(source, column, cells)
    known = values[train]
    known = known[~np.isnan(known)]
    if not len(known):
        raise vaezoo.DataError(
            f"{source.name}: column {column.name!r} has no number in the training rows"
        )
    offset, scale = map(float, vaezoo.mean_and_scale(known))
    step = _step(column, known)
    different, counts = np.unique(known, return_counts=True)
    is_known, exact_edges = _values_and_edges(different, counts, step, max_values, bins)
    exact = different[is_known], exact_edges
    atoms, edges = (_tellable(each, offset, scale) for each in exact)
    pieces, shares = divide_bins(
        different[~is_known],
        counts[~is_known],
        edges,
        atoms,
        step,
        resolution=_RESOLUTION * max(float(np.abs(known - offset).max()), scale),
    )
    column = replace(
        column,
        has_missing=bool(np.isnan(values).any()),
        offset=offset,
        scale=scale,
        step=step,
        decimals=_decimals(column, cells, source.decimal),
        values=tuple(atoms.tolist()),
        edges=tuple(edges.tolist()),
        pieces=pieces,
        shares=shares,
    )
    note, lost = "", sum(map(len, exact)) - len(atoms) - len(edges)
    if lost:
        note = (
            f"numbers of column {column.name!r}, of which {lost:,} are not told from others, as "
            f"they reach {np.abs(known).max():g}"
        )
    return column, values, note


def _tellable(numbers: np.ndarray, offset: float, scale: float) -> np.ndarray:
    """Of numbers in order, those that differ in float32 from the one before, standardised."""
    standardised = ((numbers - offset) / scale).astype(np.float32)
    return numbers[np.diff(standardised, prepend=-np.inf) > 0]


def _step(column: Column, known: np.ndarray) -> float:
    """The smallest difference of whole numbers or dates; 0 for other numbers."""
    if column.kind in ("integer", "count"):
        return 1.0
    if column.kind != "datetime":
        return 0.0
    for step in (86400.0, 3600.0, 60.0, 1.0):
        if not (known % step).any():
            return step
    return 0.0


def _decimals(column: Column, cells: pa.Array, decimal: str) -> int:
    """The greatest number of digits after the decimal sign; -1 if it is not limited.

    An exponent counts as if it was written out: 9.83E-05 has 7 digits. Floating-point numbers have
    those of their shortest text.
    """
    if cells.type in (pa.float32(), pa.float64()):
        cells, decimal = pc.cast(cells, pa.string()), "."
    if column.kind != "numeric" or not pa.types.is_string(cells.type):
        return -1
    texts, exponents = cells, pa.scalar(0.0)
    if has_any(cells, "e", "E"):
        parts = pc.extract_regex(cells, r"^(?P<digits>[^eE]*)[eE]?(?P<exponent>[-+]?\d*)$")
        texts, powers = parts.field("digits"), pc.utf8_ltrim(parts.field("exponent"), "+")
        exponents = pc.cast(pc.if_else(pc.equal(powers, ""), "0", powers), pa.float64())
    place = pc.find_substring(texts, decimal)
    after = pc.subtract(pc.subtract(pc.binary_length(texts), place), 1)
    digits = pc.subtract(pc.if_else(pc.less(place, 0), 0, after), exponents)
    most = max(0.0, pc.max(digits).as_py() or 0.0)
    return int(most) if most <= _MAX_DECIMALS else -1


def _values_and_edges(
    values: np.ndarray, counts: np.ndarray, step: float, max_values: int, bins: int
) -> tuple[np.ndarray, np.ndarray]:
    """Which values have a probability of their own, and the edges of the bins of all others.

    A bin of whole numbers begins with one of them, and ends before the next bin.

    Args:
        values: the different numbers of the training rows, in order.
        counts: how many rows have each of them.
        step: the smallest difference of whole numbers; 0 of other numbers.
        max_values, bins: how many there may be.
    """
    every = np.ones(len(values), bool)
    if len(values) <= max_values:
        return every, np.empty(0)
    is_spike = counts >= max(_SPIKE * counts.sum(), _ROWS_OF_SPIKE)
    if (~is_spike).sum() < 2:  # too few for a bin
        return every, np.empty(0)
    rest = np.repeat(values[~is_spike], counts[~is_spike])  # in order
    places = np.linspace(0, len(rest) - 1, bins + 1)
    if step:
        starts = rest[places[:-1].astype(np.int64)]
        return is_spike, np.unique(np.append(starts, rest[-1] + step))
    return is_spike, np.unique(np.interp(places, np.arange(len(rest)), rest))
