"""A data set from the arrays of one npz file.

Shapes: n examples; ``...`` is the shape of one example.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from vaezoo.data.dataset import Dataset, Split
from vaezoo.data.dataspec import DataSpec
from vaezoo.data.images import to_float, to_unit_interval
from vaezoo.data.splits import Fractions, split_indices
from vaezoo.utils.errors import DataError, one_line
from vaezoo.utils.paths import find_data

ARRAY_NAMES = ("x", "condition", "mask", "lengths")
"""The arrays that are read from an npz file; others are ignored."""


class NpzDataset(Dataset):
    """An npz file with the array ``x`` and, optionally, ``condition`` and ``mask``.

    ``x`` has the shape ``[n, ...]``. Integer ``x`` is binary if it contains only 0 and 1;
    otherwise it is an image with values from 0 to 255, which are divided by 255. ``condition`` has
    the shape ``[n]`` or ``[n, ...]``; integers ``[n]`` are class labels, counted from 0,
    everything else is a vector of numbers. ``mask`` covers leading dimensions of each example and
    is nonzero where ``x`` is observed; ``x`` may be NaN where it is not.

    Args:
        path: the file; a relative path is looked up in the working directory, then in
            ``VAEZOO_DATA``.
        support: the values that ``x`` may take; ``auto`` derives them from ``x``.
        fractions: the shares of train, validation and test.
        split_seed: decides which example belongs to which split.
    """

    def __init__(
        self,
        *,
        path: str,
        support: Literal["auto", "binary", "unit", "real"] = "auto",
        fractions: Fractions = (0.8, 0.1, 0.1),
        split_seed: int = 0,
    ) -> None:
        self.path, self.support = path, support
        self.fractions, self.split_seed = fractions, split_seed

    @cached_property
    def _arrays(self) -> Mapping[str, np.ndarray]:
        file = find_data(self.path)
        return _validate_arrays(read_npz(file), file)

    @cached_property
    def spec(self) -> DataSpec:
        """Described by the arrays."""
        x, mask = self._arrays["x"], self._arrays.get("mask")
        condition = self._arrays.get("condition")
        smallest = _smallest_support(x)
        support = smallest if self.support == "auto" else self.support
        order = ("binary", "unit", "real")
        if order.index(support) < order.index(smallest):
            raise DataError(f"{self.path}: x is {smallest}, not {support} as the spec says")
        classes: tuple[str, ...] = ()
        condition_shape = None
        if condition is not None:
            condition_shape = tuple(_condition_tensor(condition).shape[1:])
            if condition_shape == ():
                classes = self._class_names(condition)
        return DataSpec(
            tuple(x.shape[1:]),
            support,  # type: ignore[arg-type]
            levels=2 if support == "binary" else 256 if x.dtype.kind in "iu" else 0,
            mask_dims=0 if mask is None else mask.ndim - 1,
            classes=classes,
            condition_shape=condition_shape,
        )

    def _class_names(self, labels: np.ndarray) -> tuple[str, ...]:
        """The labels as names.

        Raises:
            DataError: a label between 0 and the greatest one has no example.
        """
        unique = np.unique(labels)
        if unique[-1] != len(unique) - 1:
            missing = int((unique != np.arange(len(unique))).argmax())
            raise DataError(
                f"{self.path}: no row of 'condition' is {missing}, but one is {unique[-1]}; "
                "number the classes 0, 1, 2, ... without gaps"
            )
        return tuple(map(str, unique))

    def split(self, name: str) -> Split:
        """Returns one of the three splits."""
        count = len(self._arrays["x"])
        index = split_indices(count, self.fractions, self.split_seed, self.path)[name]
        x = self._arrays["x"][index]
        is_integer = x.dtype.kind in "iu"
        condition, mask = self._arrays.get("condition"), self._arrays.get("mask")
        return Split(
            torch.from_numpy(x.astype(np.uint8) if is_integer else x.astype(np.float32)),
            None if condition is None else _condition_tensor(condition[index]),
            None if mask is None else torch.from_numpy(mask[index] != 0),
            self._transform if is_integer else None,
        )

    @property
    def _transform(self) -> Callable[[torch.Tensor], torch.Tensor]:
        return to_float if self.spec.support == "binary" else to_unit_interval


def read_npz(file: Path) -> dict[str, np.ndarray]:
    """Reads the arrays ``x``, ``condition``, ``mask`` and ``lengths``; all but ``x`` are optional.

    Raises:
        DataError: it is no npz file, is damaged, or has no ``x``.
    """
    if not zipfile.is_zipfile(file):
        raise DataError(f"{file}: not an npz file")
    try:
        with np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in ARRAY_NAMES if name in archive.files}
    except Exception as error:  # zipfile, zlib and numpy raise many types on damaged files
        reason = one_line(error)
        if "allow_pickle" in reason:
            reason = (
                "it contains Python objects; store sequences of different lengths as x [steps, D] "
                "with lengths [n]"
            )
        raise DataError(f"{file}: not a readable npz file: {reason}") from error
    if "x" not in arrays:
        raise DataError(f"{file}: has no array 'x'")
    return arrays


def _condition_tensor(values: np.ndarray) -> torch.Tensor:
    """Converts labels ``[n]`` to int64, and all other conditions to float32 ``[n, ...]``."""
    if values.ndim == 1 and values.dtype.kind in "iu":
        return torch.from_numpy(values.astype(np.int64))
    shape = (len(values), *(values.shape[1:] or (1,)))
    return torch.from_numpy(values.astype(np.float32).reshape(shape))  # [n, ...], or [n] to [n, 1]


def _smallest_support(x: np.ndarray) -> str:
    """The smallest support that contains every value of ``x``."""
    if x.dtype.kind in "iu":
        return "binary" if x.max(initial=0) <= 1 else "unit"
    if np.isin(x, (0, 1)).all():
        return "binary"
    return "unit" if x.min() >= 0 and x.max() <= 1 else "real"


def _validate_arrays(arrays: dict[str, np.ndarray], file: Path) -> dict[str, np.ndarray]:
    """Validates the arrays and sets ``x`` to 0 where it is not observed.

    Raises:
        DataError: an array has a wrong shape or type, or an observed value is not finite; names
            the row.
    """
    x = arrays["x"]
    if x.ndim < 2 or not x.size or x.dtype.kind not in "fiu":
        raise DataError(f"{file}: 'x' must be numbers of shape [n, ...], not {x.dtype} {x.shape}")
    if x.dtype.kind in "iu" and (x.min() < 0 or x.max() > 255):
        raise DataError(f"{file}: integer 'x' must lie in 0..255; store other numbers as floats")
    for name in sorted(arrays.keys() - {"x"}):
        shape, dtype = arrays[name].shape, arrays[name].dtype
        if shape[:1] != x.shape[:1]:
            raise DataError(
                f"{file}: {name!r} must have {len(x)} rows as 'x' has, not shape {shape}"
            )
        if dtype.kind not in ("fiub" if name == "mask" else "fiu"):
            raise DataError(f"{file}: {name!r} must be numbers, not {dtype}")
    if "mask" in arrays:
        mask = arrays["mask"]
        if mask.shape != x.shape[: mask.ndim] or mask.ndim < 2:
            raise DataError(
                f"{file}: 'mask' {mask.shape} does not cover leading dimensions of 'x' {x.shape}"
            )
        trailing_ones = (1,) * (x.ndim - mask.ndim)
        is_observed = (
            mask.reshape(*mask.shape, *trailing_ones) != 0
        )  # [n, *mask dimensions, 1, ...]
        arrays["x"] = np.where(is_observed, x, 0)
    _check_values(arrays, file)
    return arrays


def _check_values(arrays: Mapping[str, np.ndarray], file: Path) -> None:
    """Checks that numbers are finite as float32 and that labels are not negative."""
    for name in sorted(arrays.keys() & {"x", "condition"}):
        values = arrays[name]
        if values.dtype.kind == "f":
            with np.errstate(over="ignore"):
                rows = values.astype(np.float32).reshape(len(values), -1)  # [n, numbers per row]
            is_bad = ~np.isfinite(rows).all(1)
            if is_bad.any():
                row = int(is_bad.argmax())
                raise DataError(
                    f"{file}: {name!r} row {row} holds NaN or infinity; mask or remove it"
                )
        elif name == "condition" and values.ndim == 1 and values.min(initial=0) < 0:
            row = int((values < 0).argmax())
            raise DataError(f"{file}: 'condition' row {row} is {values[row]}; labels count from 0")
