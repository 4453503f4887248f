"""A data set from the items of a map-style data set of torch, which are read when needed."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Subset

from vaezoo.data.array_examples import to_numbers
from vaezoo.data.arrays import ArraySupport, array_spec, is_label, store
from vaezoo.data.conversion import to_array
from vaezoo.data.dataset import Dataset, Split
from vaezoo.data.dataspec import DataSpec
from vaezoo.data.fingerprint import Fingerprint, hash_arrays
from vaezoo.data.splits import split_indices
from vaezoo.data.supports import describe_support, first_invalid_row
from vaezoo.utils.errors import DataError, VaezooError, one_line
from vaezoo.utils.seeds import seeded

_SAMPLE = 16
"""The number of items from which the data is described and recognised."""


@dataclass(frozen=True)
class _Item:
    """One item as it was read: ``x``, and its condition or None, both as arrays."""

    x: np.ndarray
    condition: np.ndarray | None

    @property
    def has_label(self) -> bool:
        """Whether the condition is a class label: one integer."""
        return self.condition is not None and is_label(self.condition)


class ItemDataset(Dataset):
    """The items ``x`` or ``(x, y)`` of a data set of torch, divided at random into three splits.

    16 items, at equal distances, describe the data: their shape and their type, and with the
    support ``auto`` the values that ``x`` may take. An integer ``y`` is a class label, and -1 an
    unknown one; the data set names the classes in its attribute ``classes``, or has all labels in
    ``targets``.

    Args:
        items: the data set.
        support: the values that ``x`` may take, as for arrays.
        fractions: the shares of train, validation and test.
        split_seed: decides which item belongs to which split.

    Raises:
        vaezoo.DataError: an item cannot be read or is no example; names it.
    """

    def __init__(
        self,
        items: torch.utils.data.Dataset[Any],
        *,
        support: ArraySupport = "auto",
        fractions: Sequence[float] = (0.8, 0.1, 0.1),
        split_seed: int = 0,
    ) -> None:
        self.items, self.support = items, support
        try:
            self.count = len(items)  # type: ignore[arg-type]
        except TypeError:
            name = type(items).__name__
            raise DataError(f"data: {name} has no length; define __len__") from None
        self._split_indices = split_indices(self.count, fractions, split_seed, "data")

    @cached_property
    def _sample(self) -> dict[int, _Item]:
        """The items that describe the data, by their index. Random ones are the same each time."""
        places = np.linspace(0, self.count - 1, min(_SAMPLE, self.count)).round().astype(int)
        with _same_random_numbers():
            return {index: _read(self.items, index) for index in map(int, places)}

    @cached_property
    def spec(self) -> DataSpec:
        """Described by 16 items."""
        (first, item), *others = self._sample.items()
        for index, other in others:
            _compare(index, other, first, item)
        x = np.stack([item.x for item in self._sample.values()])
        data = array_spec(x, self.support)
        for index, each in self._sample.items():
            _check_values(index, each.x, data, self.support == "auto")
        if item.condition is None:
            return data
        if not item.has_label:
            return replace(data, condition_shape=item.condition.shape or (1,))
        classes = _class_names(self.items)
        if classes is None:
            raise DataError(
                "data: the y of its items are class labels, but it has no attribute `classes`: "
                'set it to their names, such as data.classes = ["cat", "dog"], or return floats'
            )
        return replace(data, classes=classes, condition_shape=())

    def split(self, name: str) -> Split:
        """Returns one of the three splits; its items are converted where they are read."""
        data, item = self.spec, next(iter(self._sample.values()))
        indices = self._split_indices[name].tolist()
        items = _Items(self.items, indices, data, item, self.support == "auto")
        return Split(items, transform=store(item.x, data)[1])

    @property
    def sizes(self) -> Mapping[str, int]:
        """The number of items of each split."""
        return {name: len(index) for name, index in self._split_indices.items()}

    @property
    def fingerprint(self) -> Fingerprint:
        """A hash of the length and of 16 items."""
        arrays = {"length": np.array(self.count)}
        for index, item in self._sample.items():
            arrays[f"{index}.x"] = item.x
            if item.condition is not None:
                arrays[f"{index}.y"] = item.condition
        return Fingerprint(hash_arrays(arrays), self.count, len(self._sample))


class _Items(torch.utils.data.Dataset[Any]):
    """The items of one split, converted and checked.

    Args:
        source: the data set.
        indices: the indices of the items of the split.
        data: the description of an item.
        first: an item that was described.
        is_auto: whether the support was derived from items.
    """

    def __init__(
        self,
        source: torch.utils.data.Dataset[Any],
        indices: Sequence[int],
        data: DataSpec,
        first: _Item,
        is_auto: bool,
    ) -> None:
        self.source, self.indices, self.data = source, indices, data
        self.first, self.is_auto = first, is_auto

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, place: int) -> tuple[Tensor, Tensor | None]:
        index = self.indices[place]
        item = _read(self.source, index)
        _compare(index, item, 0, self.first)
        _check_values(index, item.x, self.data, self.is_auto)
        return store(item.x, self.data)[0], self._condition(index, item)

    def _condition(self, index: int, item: _Item) -> Tensor | None:
        """The condition as a tensor: a label, or numbers of ``DataSpec.condition_shape``."""
        if item.condition is None:
            return None
        if not item.has_label:
            values = item.condition.astype(np.float32)
            if not np.isfinite(values).all():
                raise DataError(f"data: the y of item {index} holds NaN or infinity")
            return torch.from_numpy(values.reshape(self.data.condition_shape))
        label, count = int(item.condition), len(self.data.classes)
        if not -1 <= label < count:  # -1 is unknown
            raise DataError(f"data: item {index} has the label {label}; there are {count} classes")
        return torch.tensor(label)


def _read(source: torch.utils.data.Dataset[Any], index: int) -> _Item:
    """One item as arrays.

    Raises:
        DataError: it cannot be read, or is neither ``x`` nor ``(x, y)``.
    """
    try:
        item = source[index]
    except VaezooError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {one_line(error)}"
        raise DataError(f"data: item {index} cannot be read: {reason}") from error
    values = item if isinstance(item, tuple | list) else (item,)
    if not 1 <= len(values) <= 2:
        raise DataError(f"data: item {index} has {len(values)} values; return x or (x, y)")
    try:
        x, *condition = [None if value is None else to_array(value) for value in values]
    except DataError as error:
        reason = str(error).removeprefix("data: ")
        raise DataError(
            f"data: item {index}: {reason}; return x or (x, y) of arrays or tensors"
        ) from None
    if x is None or not x.ndim or not x.size or x.dtype.kind not in "fiub":
        shape = "None" if x is None else f"{x.dtype} {x.shape}"
        raise DataError(f"data: item {index}: x must be numbers of shape [...], not {shape}")
    y = condition[0] if condition else None
    return _Item(x, None if y is None else to_numbers(y))


def _check_values(index: int, x: np.ndarray, data: DataSpec, is_auto: bool) -> None:
    """Raises DataError if the ``x`` of an item has values that its support does not permit.

    Args:
        index: the index of the item.
        x: as it was read.
        data: describes the items.
        is_auto: whether the support was derived from items.
    """
    if first_invalid_row(x[None], data.support, pixels=data.pixels) is None:
        return
    whose, hint = "", ""
    if is_auto:
        whose, hint = " as in the items that were looked at first", "; set data.support"
    raise DataError(
        f"data: item {index} has values from {x.min():g} to {x.max():g}, which is not "
        f"{data.support} ({describe_support(data.support, pixels=data.pixels)}){whose}{hint}"
    )


def _compare(index: int, item: _Item, first: int, expected: _Item) -> None:
    """Raises DataError if an item has other shapes or types than another."""
    actual, required = _form(item), _form(expected)
    if actual != required:
        raise DataError(f"data: item {index} is {actual}, but item {first} is {required}")


def _form(item: _Item) -> str:
    """The types and the shapes of an item in words."""

    def form(values: np.ndarray) -> str:
        name = {"b": "booleans", "f": "floats"}.get(values.dtype.kind, "integers")
        return f"{name} {values.shape}"

    y = item.condition
    return f"{form(item.x)} {'no y' if y is None else f'y {form(y)}'}"


def _class_names(items: Any) -> tuple[str, ...] | None:
    """The names of the classes that a data set knows; None if it knows none."""
    while isinstance(items, Subset):
        items = items.dataset
    names = getattr(items, "classes", None)
    if isinstance(names, list | tuple) and names:
        return tuple(map(str, names))
    targets = np.asarray(getattr(items, "targets", ()))
    if not targets.size or targets.dtype.kind not in "iu":
        return None
    return tuple(map(str, range(int(targets.max()) + 1)))


@contextmanager
def _same_random_numbers() -> Iterator[None]:
    """Seeds the generators of torch, numpy and Python for a block, and restores them."""
    states = random.getstate(), np.random.get_state()
    with seeded(torch.device("cpu"), "items"):
        try:
            random.seed(0)
            np.random.seed(0)
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])
