"""Sequences in arrays: one after another, or padded, with their lengths.

Shapes: n sequences, T steps, ``steps`` of all sequences; ``...`` is the shape of one step.
"""

from __future__ import annotations

import numpy as np

from vaezoo.data.array_checks import check_mask, hide_unobserved
from vaezoo.utils.errors import DataError
from vaezoo.utils.memory import check_memory


def split_steps(
    x: np.ndarray, lengths: np.ndarray | None, mask: np.ndarray | None, source: str
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Divides arrays into the steps of each sequence.

    Args:
        x: the sequences one after another, ``[steps, D]``, with ``lengths``; or padded,
            ``[n, T, ...]``, with three dimensions or more.
        lengths: the number of steps of each sequence, ``[n]``; None if all have T.
        mask: nonzero where ``x`` is observed, over its first dimensions: ``[steps]`` or
            ``[n, T]``, or more; None if all of it is observed.
        source: where they come from, for messages.

    Returns:
        For each sequence its values ``[T_i, ...]``, 0 where they are hidden, and where they are
        observed, bool ``[T_i]`` or as many dimensions as the mask has.

    Raises:
        vaezoo.DataError: lengths or mask do not fit ``x``.
    """
    if x.ndim < (3 if lengths is None else 2):
        raise DataError(
            f"{source}: x {x.shape} must be sequences [n, T, D], or their steps one after another "
            "[steps, D] with lengths [n]"
        )
    is_padded = x.ndim > 2
    dims = 2 if is_padded else 1
    if mask is None:
        mask = np.ones(x.shape[:dims], bool)
    else:
        check_mask(mask, "mask", source, rows=len(x))
        x = hide_unobserved(x, mask, "x", "mask", source, min_dims=dims)
    counts = None if lengths is None else _counts(lengths, source)
    if is_padded:
        return _split_padded(x, mask != 0, counts, source)
    assert counts is not None
    if sum(counts) != len(x):
        raise DataError(f"{source}: lengths do not add up to the {len(x):,} steps of x")
    ends = np.cumsum(counts)[:-1]
    return list(zip(np.split(x, ends), np.split(mask != 0, ends), strict=True))


def _split_padded(
    x: np.ndarray, observed: np.ndarray, counts: list[int] | None, source: str
) -> list[tuple[np.ndarray, np.ndarray]]:
    """``split_steps`` for ``[n, T, ...]``."""
    n, steps = x.shape[:2]
    counts = [steps] * n if counts is None else counts
    if len(counts) != n:
        raise DataError(f"{source}: 'lengths' must be one for each of the {n:,} rows of x")
    for row, count in enumerate(counts):
        if count > steps:
            raise DataError(f"{source}: 'lengths' row {row} is {count}, but x has {steps} steps")
    return [(x[i, :count], observed[i, :count]) for i, count in enumerate(counts)]


def _counts(lengths: np.ndarray, source: str) -> list[int]:
    """The lengths as integers.

    Raises:
        DataError: they are none, or one is negative.
    """
    if lengths.dtype.kind not in "iu" or lengths.ndim != 1 or not len(lengths):
        raise DataError(
            f"{source}: 'lengths' must be integers of shape [n], not {lengths.dtype} "
            f"{lengths.shape}"
        )
    counts: list[int] = lengths.tolist()
    if min(counts) < 0:
        row = int((lengths < 0).argmax())
        raise DataError(f"{source}: 'lengths' row {row} is {counts[row]}")
    return counts


def pad_steps(
    x: np.ndarray,
    lengths: np.ndarray,
    mask: np.ndarray | None,
    source: str,
    *,
    steps: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Sequences with their lengths, padded with 0, and their mask.

    Args:
        x, lengths, mask, source: as for ``split_steps``.
        steps: the number of steps at least; for padded ``x`` it stays T.

    Returns:
        ``x`` ``[n, T, ...]``, and where it is observed, bool ``[n, T]`` or as many dimensions as
        the mask has.

    Raises:
        DataError: as for ``split_steps``; or the padded sequences do not fit in memory.
    """
    sequences = split_steps(x, lengths, mask, source)
    first, observed = sequences[0]
    if x.ndim > 2:
        steps = x.shape[1]
    steps = max(steps, *(len(values) for values, _ in sequences))
    padded_shape = (len(sequences), steps, *first.shape[1:])
    check_memory(
        int(np.prod(padded_shape, dtype=float)) * x.itemsize,
        f"{source}: {len(sequences):,} sequences that are padded to {steps:,} steps",
        "cut or remove the longest",
    )
    padded = np.zeros(padded_shape, x.dtype)
    exists = np.zeros((len(sequences), steps, *observed.shape[1:]), bool)
    for row, (values, shown) in enumerate(sequences):
        padded[row, : len(values)], exists[row, : len(values)] = values, shown
    return padded, exists
