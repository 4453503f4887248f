"""Arrays in one npz file."""

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
from vaezoo.data.images import to_float, to_unit
from vaezoo.data.splits import Fractions, split_indices
from vaezoo.utils.errors import DataError
from vaezoo.utils.paths import find_data

NAMES = ("x", "condition", "mask", "lengths")


class Npz(Dataset):
    """An npz file with the array ``x`` ``[n, ...]`` and, where wanted, ``condition`` ``[n, ...]`` and ``mask``.

    A ``mask`` covers leading dimensions of an example and is nonzero where ``x`` is observed; what it hides may be
    NaN. An integer ``condition`` ``[n]`` is a label, counted from 0; any other is a vector of numbers. Integer ``x`` is
    an image of 256 levels, divided by 255, or binary where it holds nothing but 0 and 1.

    Args:
        path: the file; a relative path is looked for in the working directory, then in ``VAEZOO_DATA``.
        support: what values ``x`` may take; ``auto`` looks.
        fractions: the shares of train, validation and test.
        split_seed: decides which example goes where.
    """

    def __init__(
        self,
        *,
        path: str,
        support: Literal["auto", "binary", "unit", "real"] = "auto",
        fractions: Fractions = (0.8, 0.1, 0.1),
        split_seed: int = 0,
    ) -> None:
        self.path, self.support, self.fractions, self.split_seed = path, support, fractions, split_seed

    @cached_property
    def _arrays(self) -> Mapping[str, np.ndarray]:
        file = find_data(self.path)
        return _checked(read_npz(file), file)

    @cached_property
    def spec(self) -> DataSpec:
        """What the arrays hold."""
        x, mask, condition = self._arrays["x"], self._arrays.get("mask"), self._arrays.get("condition")
        found = _support(x)
        support = found if self.support == "auto" else self.support
        order = ("binary", "unit", "real")
        if order.index(support) < order.index(found):
            raise DataError(f"{self.path}: x is {found}, not {support} as the spec says")
        classes: tuple[str, ...] = ()
        condition_shape = None
        if condition is not None:
            condition_shape = tuple(_condition(condition).shape[1:])
            if condition_shape == ():
                classes = self._classes(condition)
        levels = 2 if support == "binary" else 256 if x.dtype.kind in "iu" else 0
        shape = tuple(x.shape[1:])
        return DataSpec(shape, support, levels, 0 if mask is None else mask.ndim - 1, classes, condition_shape)  # type: ignore[arg-type]

    def _classes(self, labels: np.ndarray) -> tuple[str, ...]:
        found = np.unique(labels)
        if found[-1] != len(found) - 1:
            missing = int((found != np.arange(len(found))).argmax())
            raise DataError(
                f"{self.path}: no row of 'condition' is {missing}, but one is {found[-1]}; count without gaps"
            )
        return tuple(map(str, found))

    def split(self, name: str) -> Split:
        """One of the three splits."""
        part = split_indices(len(self._arrays["x"]), self.fractions, self.split_seed, self.path)[name]
        x = self._arrays["x"][part]
        integer = x.dtype.kind in "iu"
        stored = torch.from_numpy(x.astype(np.uint8) if integer else x.astype(np.float32))
        condition, mask = self._arrays.get("condition"), self._arrays.get("mask")
        return Split(
            stored,
            None if condition is None else _condition(condition[part]),
            None if mask is None else torch.from_numpy(mask[part] != 0),
            self._transform if integer else None,
        )

    @property
    def _transform(self) -> Callable[[torch.Tensor], torch.Tensor]:
        return to_float if self.spec.support == "binary" else to_unit


def read_npz(file: Path) -> dict[str, np.ndarray]:
    """The arrays ``x``, ``condition``, ``mask`` and ``lengths`` of an npz file, as far as they are there.

    Raises:
        DataError: it is no npz file, is damaged, or has no ``x``.
    """
    if not zipfile.is_zipfile(file):
        raise DataError(f"{file}: not an npz file")
    try:
        with np.load(file, allow_pickle=False) as opened:
            arrays = {name: opened[name] for name in NAMES if name in opened.files}
    except Exception as error:  # zipfile, zlib and numpy raise their own kinds on damaged files
        said = " ".join(str(error).split())
        if "allow_pickle" in said:
            said = "it holds Python objects; store sequences of many lengths as x [steps, D] with lengths [n]"
        raise DataError(f"{file}: not a readable npz file: {said}") from error
    if "x" not in arrays:
        raise DataError(f"{file}: has no array 'x'")
    return arrays


def _condition(values: np.ndarray) -> torch.Tensor:
    """Labels ``[n]`` as int64; anything else as float32 vectors ``[n, ...]``."""
    if values.ndim == 1 and values.dtype.kind in "iu":
        return torch.from_numpy(values.astype(np.int64))
    return torch.from_numpy(values.astype(np.float32).reshape(len(values), *(values.shape[1:] or (1,))))


def _support(x: np.ndarray) -> str:
    if x.dtype.kind in "iu":
        return "binary" if x.max(initial=0) <= 1 else "unit"
    if np.isin(x, (0, 1)).all():
        return "binary"
    return "unit" if x.min() >= 0 and x.max() <= 1 else "real"


def _checked(arrays: dict[str, np.ndarray], file: Path) -> dict[str, np.ndarray]:
    """The arrays, with what the mask hides set to 0.

    Raises:
        DataError: one of them is missing, of the wrong shape or type, or has an observed NaN; names the row.
    """
    x = arrays["x"]
    if x.ndim < 2 or not x.size or x.dtype.kind not in "fiu":
        raise DataError(f"{file}: 'x' must be numbers of shape [n, ...], not {x.dtype} {x.shape}")
    if x.dtype.kind in "iu" and (x.min() < 0 or x.max() > 255):
        raise DataError(f"{file}: integer 'x' must lie in 0..255; store other numbers as floats")
    for name in sorted(arrays.keys() - {"x"}):
        if arrays[name].shape[:1] != x.shape[:1]:
            raise DataError(f"{file}: {name!r} must have {len(x)} rows as 'x' has, not shape {arrays[name].shape}")
        if arrays[name].dtype.kind not in ("fiub" if name == "mask" else "fiu"):
            raise DataError(f"{file}: {name!r} must be numbers, not {arrays[name].dtype}")
    if "mask" in arrays:
        mask = arrays["mask"]
        if mask.shape != x.shape[: mask.ndim] or mask.ndim < 2:
            raise DataError(f"{file}: 'mask' {mask.shape} does not cover leading dimensions of 'x' {x.shape}")
        arrays["x"] = x = np.where(mask.reshape(*mask.shape, *(1,) * (x.ndim - mask.ndim)) != 0, x, 0)
    _check_values(arrays, file)
    return arrays


def _check_values(arrays: Mapping[str, np.ndarray], file: Path) -> None:
    for name in sorted(arrays.keys() & {"x", "condition"}):
        values = arrays[name]
        if values.dtype.kind == "f":
            with np.errstate(over="ignore"):
                bad = ~np.isfinite(values.astype(np.float32).reshape(len(values), -1)).all(1)
            if bad.any():
                raise DataError(f"{file}: {name!r} row {int(bad.argmax())} holds NaN or infinity; mask or remove it")
        elif name == "condition" and values.ndim == 1 and values.min(initial=0) < 0:
            row = int((values < 0).argmax())
            raise DataError(f"{file}: 'condition' row {row} is {values[row]}; labels count from 0")
