"""A data set from numpy arrays, wherever they come from.

Shapes: n examples; ``...`` is the shape of one example.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from vaezoo.data.array_checks import check_labels
from vaezoo.data.array_examples import Arrays, checked_arrays, has_values
from vaezoo.data.dataset import Dataset, Split
from vaezoo.data.dataspec import DataSpec
from vaezoo.data.factors import read_factors
from vaezoo.data.images import to_float, to_unit_interval
from vaezoo.data.phrases import count_phrase, untrained_classes
from vaezoo.data.splits import split_indices
from vaezoo.data.supports import describe_support, first_invalid_row
from vaezoo.utils.errors import DataError

_MAX_ROOT_MEAN_SQUARE = 50
"""Real numbers with a larger root mean square were probably not standardised."""

ArraySupport: TypeAlias = Literal["auto", "binary", "unit", "real", "one-hot", "count"]
"""The values that an array may take; ``auto`` derives them from the array."""


class ArrayDataset(Dataset):
    """Examples in arrays, divided at random into three splits.

    Integers are binary if they are only 0 and 1; otherwise they are pixels from 0 to 255, which
    are divided by 255. With the support ``count`` they are what they are. Booleans are the numbers
    0 and 1, whatever the support.

    Args:
        arrays: the examples.
        source: names them in messages.
        support: the values that ``x`` may take, or for data of several parts those of each.
        fractions: the shares of train, validation and test.
        split_seed: decides which example belongs to which split.

    Raises:
        vaezoo.DataError: an array has a wrong shape or type, or a value that is observed is not
            finite; names the row.
    """

    def __init__(
        self,
        arrays: Arrays,
        *,
        source: str,
        support: ArraySupport | Mapping[str, ArraySupport] = "auto",
        fractions: Sequence[float] = (0.8, 0.1, 0.1),
        split_seed: int = 0,
    ) -> None:
        self.arrays = checked_arrays(arrays, source)
        self.source, self.support = source, support
        self.fractions, self.split_seed = fractions, split_seed
        if unknown := {*self._supports} - {*self.arrays.parts}:
            raise DataError(f"{source}: support names {min(unknown)!r}, which is no part")
        self.factors = read_factors(self.arrays.factors, source)
        self.specs = {name: self._spec_of(name, x) for name, x in self.arrays.parts.items()}
        try:
            self._spec = self._whole_spec()
        except ValueError as error:  # a part or an extra has a name that is not allowed
            raise DataError(f"{source}: {error}") from error

    @property
    def _supports(self) -> Mapping[str, ArraySupport]:
        """The option ``support`` by part."""
        if isinstance(self.support, Mapping):
            return self.support
        return dict.fromkeys(self.arrays.parts, self.support)

    def _spec_of(self, name: str, x: np.ndarray) -> DataSpec:
        """Describes one part, or data without parts, as if it had no condition."""
        mask = self.arrays.mask_of(name)
        mask_dims = 0 if mask is None else mask.ndim - 1
        data = replace(array_spec(x, self._supports.get(name, "auto")), mask_dims=mask_dims)
        row = first_invalid_row(x, data.support, pixels=data.pixels)
        if row is not None:
            what, hint = f"x.{name}" if name else "x", f"; its support is {data.support}"
            if data.pixels:
                hint = "; store other numbers as floats, or counts with support: count"
            values = describe_support(data.support, pixels=data.pixels)
            raise DataError(f"{self.source}: {what!r} row {row} must have {values}{hint}")
        return data

    def _whole_spec(self) -> DataSpec:
        """Describes an example with its condition and extras."""
        extras = {name: array.shape[1:] for name, array in self.arrays.extras.items()}
        has_parts = isinstance(self.arrays.x, Mapping)
        data = DataSpec((), "joint", parts=self.specs) if has_parts else self.specs[""]
        factors = () if self.factors is None else self.factors.fields
        data, condition = replace(data, extras=extras, factors=factors), self.arrays.condition
        if condition is None:
            return data
        shape = tuple(condition_tensor(condition).shape[1:])
        classes = check_labels(condition, self.source) if shape == () else ()
        return replace(data, classes=classes, condition_shape=shape)

    @property
    def spec(self) -> DataSpec:
        """Described by the arrays."""
        return self._spec

    @property
    def sizes(self) -> Mapping[str, int]:
        """The number of examples of each split."""
        return {name: len(index) for name, index in self._indices.items()}

    @property
    def left_out(self) -> Sequence[str]:
        """The examples of which nothing is observed."""
        hidden = np.flatnonzero(~has_values(self.arrays)).tolist()
        one, many = "example with no observed value", "examples with no observed value"
        return count_phrase(hidden, one, many)

    @property
    def notes(self) -> Sequence[str]:
        """Classes that training does not have, and numbers that are far from standardised."""
        large = [
            f"numbers of {f'x.{name}' if name else 'x'} with a root mean square of {value:,.4g}; "
            "models train best on numbers that are standardised"
            for name, value in self._root_mean_squares().items()
            if value > _MAX_ROOT_MEAN_SQUARE
        ]
        if self.factors is not None:
            large += self.factors.notes
        if not self.spec.classes:
            return tuple(large)
        assert self.arrays.condition is not None
        labels = self.arrays.condition[self._indices["train"]]
        return (*large, *untrained_classes(labels, self.spec.classes))

    def _root_mean_squares(self) -> Mapping[str, float]:
        """The root mean square of what is observed of each part that holds real numbers."""
        result = {}
        for name, x in self.arrays.parts.items():
            data, mask = self.specs[name], self.arrays.mask_of(name)
            present = self.arrays.present.get(name)
            if data.support != "real" or data.pixels:  # pixels are divided by 255
                continue
            if present is not None:
                x, mask = x[present != 0], None if mask is None else mask[present != 0]
            values = (x if mask is None else x[mask != 0]).ravel()
            # einsum converts to float64 in chunks, without a copy of all values
            total = float(np.einsum("i,i->", values, values, dtype=np.float64))
            result[name] = math.sqrt(total / values.size) if values.size else 0.0
        return result

    @cached_property
    def _indices(self) -> Mapping[str, np.ndarray]:
        return split_indices(len(self.arrays), self.fractions, self.split_seed, self.source)

    def split(self, name: str) -> Split:
        """Returns one of the three splits."""
        arrays, index = self.arrays, self._indices[name]
        stored, transforms = {}, {}
        for part, x in arrays.parts.items():
            stored[part], transform = store(x[index], self.specs[part])
            if transform is not None:
                transforms[part] = transform
        masks = {
            part: torch.from_numpy(mask[index] != 0)
            for part in arrays.parts
            if (mask := arrays.mask_of(part)) is not None
        }
        has_parts = isinstance(arrays.x, Mapping)
        condition = arrays.condition
        return Split(
            stored if has_parts else stored[""],
            None if condition is None else condition_tensor(condition[index]),
            (masks or None) if has_parts else masks.get(""),
            _of_parts(transforms) if has_parts and transforms else transforms.get(""),
            extras={key: extra_tensor(value[index]) for key, value in arrays.extras.items()},
            present={
                part: torch.from_numpy(value[index] != 0) for part, value in arrays.present.items()
            }
            or None,
            factors=None if self.factors is None else self.factors.values[index],
        )


def array_spec(x: np.ndarray, support: ArraySupport) -> DataSpec:
    """Describes the examples ``[n, ...]`` of an array, whose values are yet to be checked."""
    if support == "auto":
        support = _smallest_support(x)
    is_integer = x.dtype.kind in "iu" and support != "count"
    is_discrete = support in ("binary", "one-hot")
    return DataSpec(
        tuple(x.shape[1:]),
        support,
        levels=2 if is_discrete else 256 if is_integer else 0,
        pixels=is_integer and not is_discrete,
    )


def store(x: np.ndarray, data: DataSpec) -> tuple[Tensor, Callable[[Tensor], Tensor] | None]:
    """``x`` in the form in which it is stored, and what converts it to model input.

    Integers and booleans are stored as uint8, unless they are counts; everything else as float32,
    which is model input already: then the second is None.

    Args:
        x: numbers or booleans of any shape.
        data: describes them.
    """
    if x.dtype.kind in "iub" and data.support != "count":
        transform = to_unit_interval if data.pixels else to_float
        return torch.from_numpy(x.astype(np.uint8)), transform
    return torch.from_numpy(x.astype(np.float32)), None


def _of_parts(
    transforms: Mapping[str, Callable[[Tensor], Tensor]],
) -> Callable[[Mapping[str, Tensor]], dict[str, Tensor]]:
    """Applies to each part its transform, if it has one."""

    def transform(x: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {
            name: transforms[name](value) if name in transforms else value
            for name, value in x.items()
        }

    return transform


def is_label(condition: np.ndarray) -> bool:
    """Whether the condition of one example is a class label: one integer."""
    return condition.ndim == 0 and condition.dtype.kind in "iu"


def condition_tensor(values: np.ndarray) -> Tensor:
    """Converts labels ``[n]`` to int64, and all other conditions to float32 ``[n, ...]``."""
    if is_label(values[0]):
        return torch.from_numpy(values.astype(np.int64))
    shape = (len(values), *(values.shape[1:] or (1,)))
    return torch.from_numpy(values.astype(np.float32).reshape(shape))  # [n, ...], or [n] to [n, 1]


def extra_tensor(values: np.ndarray) -> Tensor:
    """Integers as int64, everything else as float32, ``[n, ...]``."""
    return torch.from_numpy(values.astype(np.int64 if values.dtype.kind in "iu" else np.float32))


def _smallest_support(x: np.ndarray) -> Literal["binary", "unit", "real"]:
    """The smallest support that contains every value of ``x``; of integers, as pixels."""
    if first_invalid_row(x, "binary") is None:
        return "binary"
    return "unit" if x.dtype.kind in "iu" or first_invalid_row(x, "unit") is None else "real"
