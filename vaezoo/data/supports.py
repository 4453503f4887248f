"""The values that a support permits.

Shapes: n examples; ``...`` is the shape of one example.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

BOUNDED = ("binary", "unit", "one-hot")
"""The supports whose values lie in [0, 1]."""
_VALUES = {
    "binary": "0 or 1",
    "unit": "numbers from 0 to 1",
    "one-hot": "a single 1 along the last dimension, otherwise 0",
    "count": "counts 0, 1, 2, ...",
}


def describe_support(support: str, *, pixels: bool = False) -> str:
    """The values of a support in words; for ``pixels``, the integers that become them."""
    return "integers from 0 to 255" if pixels else _VALUES.get(support, "finite numbers")


def first_invalid_row(
    values: np.ndarray | Tensor, support: str, *, pixels: bool = False
) -> int | None:
    """The first example with a value that the support does not permit; None if there is none.

    NaN, infinity, and what becomes infinite as float32 are never permitted. One-hot examples may
    be 0 everywhere, where they are hidden. Supports that have no rule permit all finite numbers.

    Args:
        values: ``[n, ...]``, of any type of numbers.
        support: as in ``DataSpec``.
        pixels: whether ``values`` are integers of the source, which are yet to be divided by 255.
    """
    if isinstance(values, Tensor):
        values = values.detach().cpu()
        values = (values if values.dtype.itemsize > 2 else values.float()).numpy()
    valid = _is_valid(values, "pixels" if pixels else support)
    invalid = ~valid.all(tuple(range(1, valid.ndim)))  # [n]
    return int(invalid.argmax()) if invalid.any() else None


def _is_valid(x: np.ndarray, support: str) -> np.ndarray:
    """Which values are permitted, ``[n, ...]``; for one-hot data without the last dimension."""
    if support == "pixels":
        return (x >= 0) & (x <= 255)
    if support == "binary":
        return (x == 0) | (x == 1)
    if support == "one-hot":
        return ((x == 0) | (x == 1)).all(-1) & ((x == 1).sum(-1) <= 1)
    if support == "unit":
        return (x >= 0) & (x <= 1)
    if x.dtype.kind == "f":
        with np.errstate(over="ignore"):
            valid = np.isfinite(x.astype(np.float32))
    else:
        valid = np.ones(x.shape, bool)
    return valid & (x >= 0) & (x == np.floor(x)) if support == "count" else valid
