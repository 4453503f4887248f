"""How numbers are distributed within the bins of a column: in pieces with fixed probabilities.

A bin is divided where the training rows are not evenly spread in it, such as in the tails of a
distribution, and around whole numbers that are frequent, such as 1000.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

_FEWEST = 5
"""The fewest training rows of half a piece."""
_EVEN = 0.15
"""How far from the middle the median of a piece lies that is not divided, in its widths."""
_DEPTH = 8
"""How many times a bin is halved at most."""
_FREQUENT = 5
"""The fewest training rows that make a whole number a piece of its own."""
_EXCESS = 3.0
"""How many times as frequent as the others of its bin such a number is."""
_ADDED = 0.5
"""Added to the rows of each piece (Krichevsky & Trofimov 1981), so that none is impossible."""


def sizes_of(pieces: np.ndarray, known: np.ndarray, step: float) -> np.ndarray:
    """The size of each piece ``[Q]``: its width, or how many whole numbers it has.

    Args:
        pieces: their edges ``[Q + 1]``, in order.
        known: values that have a probability of their own, in order; they are in no piece.
        step: the smallest difference of whole numbers; 0 of other numbers.
    """
    if not step:
        return np.diff(pieces)
    return np.rint(np.diff(pieces) / step) - np.diff(np.searchsorted(known, pieces))


def divide_bins(
    values: np.ndarray,
    counts: np.ndarray,
    edges: np.ndarray,
    known: np.ndarray,
    step: float,
    *,
    resolution: float,
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The edges of pieces, in order, and the probability of each piece given its bin.

    Args:
        values: the different numbers of the training rows that lie in bins, in order.
        counts: how many rows have each of them.
        edges: of the bins.
        known: values that have a probability of their own, in order.
        step: the smallest difference of whole numbers; 0 of other numbers.
        resolution: the least width of a piece.

    Returns:
        Q + 1 edges, which contain those of the bins, and Q probabilities.
    """
    if not len(edges):
        return (), ()
    starts = np.searchsorted(values, edges)
    starts[-1] = len(values)  # the last bin has both of its edges
    pieces: list[float] = []
    shares: list[float] = []
    for (low, high), (first, stop) in zip(pairwise(edges), pairwise(starts), strict=True):
        inside, rows = values[first:stop], counts[first:stop]
        total = rows.sum()
        cuts = {low, *_halves(inside, rows, low, high, _DEPTH)}
        if step:
            usual = total * step / (high - low)
            often = inside[(rows >= _FREQUENT) & (rows > _EXCESS * usual)]
            cuts |= {*often, *(often + step)}
        bounds = np.array(sorted(cut for cut in cuts if low <= cut < high))
        is_wide = (np.diff(bounds) > resolution) & (high - bounds[1:] > resolution)
        bounds = np.concatenate([[low], bounds[1:][is_wide], [high]])
        before = np.append(0, rows.cumsum())  # how many rows lie before each value
        each = np.diff(before[np.append(np.searchsorted(inside, bounds[:-1]), len(rows))])
        each = np.where(sizes_of(bounds, known, step) > 0, each + _ADDED, 0.0)
        pieces += bounds[:-1].tolist()
        shares += (each / each.sum()).tolist()
    return (*pieces, float(edges[-1])), tuple(float(f"{share:.6g}") for share in shares)


def _halves(
    values: np.ndarray, rows: np.ndarray, low: float, high: float, depth: int
) -> list[float]:
    """Where a bin is divided so that half of its rows lie on each side.

    Args:
        values: the different numbers in the bin, in order.
        rows: how many training rows each has.
        low, high: the edges of the bin.
        depth: how many times it may be divided.
    """
    total = rows.sum()
    if not depth or total < 2 * _FEWEST or len(values) < 2:
        return []
    place = int(np.searchsorted(rows.cumsum(), total / 2))
    place = min(max(place, 1), len(values) - 1)
    cut = float(values[place])
    # of n even rows it lies within two standard errors, 1 / sqrt(n), of the middle
    if abs((cut - low) / (high - low) - 0.5) <= max(_EVEN, float(total) ** -0.5):
        return []
    left = _halves(values[:place], rows[:place], low, cut, depth - 1)
    return [*left, cut, *_halves(values[place:], rows[place:], cut, high, depth - 1)]
