"""Checks of the arrays of a data set.

Shapes: n examples; ``...`` is the shape of one example.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from vaezoo.data.supports import first_invalid_row
from vaezoo.utils.errors import DataError


def check_array(
    values: np.ndarray,
    name: str,
    source: str,
    *,
    rows: int,
    min_dims: int = 1,
    finite: bool = False,
) -> None:
    """Checks the shape and the type of an array, of numbers or booleans.

    Args:
        values: the array.
        name: its name in messages.
        source: where it comes from, for messages.
        rows: the number of rows that it must have.
        min_dims: the number of dimensions that it must have at least.
        finite: whether to check that its values are finite as float32, too.

    Raises:
        DataError: it is not valid; names the row.
    """
    dtype, shape = values.dtype, values.shape
    if shape[:1] != (rows,):
        raise DataError(f"{source}: {name!r} must have {rows} rows as 'x' has, not shape {shape}")
    if not values.size:
        raise DataError(f"{source}: {name!r} has no values: its shape is {shape}")
    if len(shape) < min_dims:
        raise DataError(f"{source}: {name!r} must be numbers of shape [n, ...], not {shape}")
    if dtype.kind not in "fiub":
        raise DataError(f"{source}: {name!r} must be numbers, not {dtype}")
    row = first_invalid_row(values, "real") if finite else None
    if row is not None:
        raise DataError(f"{source}: {name!r} row {row} holds NaN or infinity; mask or remove it")


def check_mask(mask: np.ndarray, name: str, source: str, *, rows: int) -> None:
    """Checks that an array says what is there: 0 where it is not, positive numbers where it is.

    Args:
        mask: the array.
        name, source, rows: as for ``check_array``.

    Raises:
        DataError: it is not valid; names the row.
    """
    check_array(mask, name, source, rows=rows, finite=True)
    if mask.dtype != bool and mask.min() < 0:
        row = int((mask < 0).reshape(rows, -1).any(1).argmax())
        raise DataError(
            f"{source}: {name!r} row {row} holds {mask[mask < 0][0]}; it must be 0 or 1: whether "
            "the values of x are there"
        )


def check_parts(x: Any, mask: Any, present: Mapping[str, Any] | None, source: str) -> None:
    """Checks that ``x`` has rows, and that masks and presence belong to it or to its parts.

    Args:
        x, mask, present: as in ``vaezoo.Batch``, as arrays or tensors.
        source: where they come from, for messages.

    Raises:
        DataError: they do not.
    """
    is_joint = isinstance(x, Mapping)
    if is_joint and not x:
        raise DataError(f"{source}: 'x' is a mapping without parts")
    for name, values in (x if is_joint else {"": x}).items():
        if not values.ndim:
            what = f"x.{name}" if name else "x"
            raise DataError(f"{source}: {what!r} must be numbers of shape [n, ...], not ()")
    if is_joint and mask is not None and not isinstance(mask, Mapping):
        raise DataError(f"{source}: 'mask' must be one for each part that has one: {', '.join(x)}")
    for what, values in (("mask", mask), ("present", present)):
        named = {*values} if isinstance(values, Mapping) else set()
        if unknown := named - {*(x if is_joint else ())}:
            raise DataError(f"{source}: '{what}.{min(unknown)}' belongs to no part of x")


def hide_unobserved(
    x: np.ndarray, observed: np.ndarray, what: str, name: str, source: str, *, min_dims: int = 1
) -> np.ndarray:
    """``x`` with 0 where it is not observed.

    Args:
        x: ``[n, ...]``.
        observed: nonzero where ``x`` is observed, over its leading dimensions.
        what: the name of ``x`` in messages.
        name: the name of ``observed`` in messages.
        source: where they come from, for messages.
        min_dims: the number of dimensions that ``observed`` must have at least.

    Raises:
        DataError: ``observed`` does not cover leading dimensions of ``x``.
    """
    if observed.shape != x.shape[: observed.ndim] or observed.ndim < min_dims:
        raise DataError(
            f"{source}: {name!r} {observed.shape} does not cover leading dimensions of {what!r} "
            f"{x.shape}"
        )
    # [n, *mask dimensions, 1, ...]
    aligned = observed.reshape(*observed.shape, *(1,) * (x.ndim - observed.ndim)) != 0
    return np.where(aligned, x, np.zeros((), x.dtype))


def check_labels(labels: np.ndarray, source: str) -> tuple[str, ...]:
    """The classes of labels ``[n]``, by their numbers; -1 is an unknown label.

    Args:
        labels: integers, of which there is at least one.
        source: where they come from, for messages.

    Raises:
        vaezoo.DataError: a label is below -1, none is known, or one between 0 and the greatest has
            no example.
    """
    if labels.min() < -1:
        row = int((labels < -1).argmax())
        raise DataError(
            f"{source}: 'condition' row {row} is {labels[row]}; labels count from 0, and -1 is an "
            "unknown one"
        )
    unique = np.unique(labels[labels >= 0])
    if not len(unique):
        raise DataError(f"{source}: no row of 'condition' has a label; leave 'condition' out")
    if unique[-1] != len(unique) - 1:
        missing = int((unique != np.arange(len(unique))).argmax())
        raise DataError(
            f"{source}: no row of 'condition' is {missing}, but one is {unique[-1]}; "
            "number the classes 0, 1, 2, ... without gaps"
        )
    return tuple(map(str, unique))
