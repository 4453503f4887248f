"""A data set from the arrays of one npz file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from vaezoo.data.array_examples import Arrays
from vaezoo.data.arrays import ArrayDataset, ArraySupport
from vaezoo.data.batch import Batch
from vaezoo.data.dataset import Dataset, Split
from vaezoo.data.dataspec import DataSpec
from vaezoo.data.npz_file import NpzArrays, read_npz
from vaezoo.data.phrases import count_phrase
from vaezoo.data.splits import Fractions
from vaezoo.data.steps import pad_steps
from vaezoo.utils.errors import DataError
from vaezoo.utils.paths import DataPath, find_data

_FIELDS = ("x", "condition", "mask", "extras", "present", "factors")


class NpzDataset(Dataset):
    """An npz file with the array ``x`` and, optionally, ``condition`` and ``mask``.

    ``x`` has the shape ``[n, ...]``. Integer ``x`` is binary if it contains only 0 and 1;
    otherwise it is an image with values from 0 to 255, which are divided by 255. ``condition`` has
    the shape ``[n]`` or ``[n, ...]``; integers ``[n]`` are class labels, counted from 0, and -1
    where they are unknown; everything else is a vector of numbers. ``mask`` covers leading
    dimensions of each example and is nonzero where ``x`` is observed; ``x`` may be NaN where it is
    not.

    Sequences of different lengths have ``lengths`` ``[n]``: with ``x`` ``[n, T, ...]`` what comes
    after them is hidden, and with their steps one after another, ``x`` ``[steps, D]``, they are
    padded. Arrays with other names are not used.

    Ground-truth factors, for scores of disentanglement, are an array ``factors`` ``[n, F]``, or
    ``factors.NAME`` ``[n]`` for each. They are no part of ``x``. Numbers with more than 64
    different values are cut into 20 bins of equal width.

    An array ``extras.NAME`` ``[n, ...]`` is what comes with the examples, such as a weight. Data
    of several parts has an array ``x.NAME`` for each part, and may have ``mask.NAME`` and
    ``present.NAME`` ``[n]``, which is 0 where an example lacks the part.

    Args:
        path: the file; a relative path is looked up in the working directory, then in
            ``VAEZOO_DATA``.
        support: the values that ``x`` may take, or for data of several parts those of each by
            name; ``auto`` derives them from ``x``; ``count`` means 0, 1, 2, ...
        fractions: the shares of train, validation and test.
        split_seed: decides which example belongs to which split.
    """

    def __init__(
        self,
        *,
        path: DataPath,
        support: ArraySupport | dict[str, ArraySupport] = "auto",
        fractions: Fractions = (0.8, 0.1, 0.1),
        split_seed: int = 0,
    ) -> None:
        self.path, self.support = path, support
        self.fractions, self.split_seed = fractions, split_seed

    @cached_property
    def _file(self) -> NpzArrays:
        return read_npz(find_data(self.path))

    @cached_property
    def _dataset(self) -> ArrayDataset:
        source = str(find_data(self.path))
        return ArrayDataset(
            to_arrays(self._file, source),
            source=source,
            support=self.support,
            fractions=self.fractions,
            split_seed=self.split_seed,
        )

    @property
    def spec(self) -> DataSpec:
        """Described by the arrays."""
        return self._dataset.spec

    @property
    def sizes(self) -> Mapping[str, int]:
        """The number of examples of each split."""
        return self._dataset.sizes

    @property
    def left_out(self) -> Sequence[str]:
        """Arrays with names that mean nothing here, and what of the arrays is not used."""
        one, many = "array that is not read", "arrays that are not read"
        return (*count_phrase(self._file.unread, one, many), *self._dataset.left_out)

    @property
    def notes(self) -> Sequence[str]:
        """Classes that training does not have, and numbers that are far from standardised."""
        return self._dataset.notes

    def split(self, name: str) -> Split:
        """Returns one of the three splits."""
        return self._dataset.split(name)


def to_arrays(arrays: Mapping[str, np.ndarray], source: str, *, steps: int = 0) -> Arrays:
    """The arrays of a file, by what they are; sequences with ``lengths`` are padded.

    Args:
        arrays: by the names that they have in a file.
        source: where they come from, for messages.
        steps: the number of steps to which sequences are padded at least.

    Raises:
        DataError: ``lengths`` do not fit the arrays.
    """

    def named(prefix: str) -> dict[str, np.ndarray]:
        return {
            name.removeprefix(prefix): array
            for name, array in arrays.items()
            if name.startswith(prefix)
        }

    x: Any = arrays["x"] if "x" in arrays else named("x.")
    mask: Any = arrays["mask"] if "mask" in arrays else named("mask.") or None
    if "lengths" in arrays:
        if isinstance(x, dict) or isinstance(mask, dict):
            raise DataError(f"{source}: has 'lengths', which are for one array x; use mask.NAME")
        x, mask = pad_steps(x, arrays["lengths"], mask, source, steps=steps)
    return Arrays(
        x=x,
        condition=arrays.get("condition"),
        mask=mask,
        extras=named("extras."),
        present=named("present."),
        factors=_named_factors(arrays.get("factors"), source) | named("factors."),
    )


def _named_factors(factors: np.ndarray | None, source: str) -> dict[str, np.ndarray]:
    """The columns of an array of factors, which have the numbers of the columns as names.

    Raises:
        DataError: it does not have the shape ``[n, F]``.
    """
    if factors is None:
        return {}
    if factors.ndim != 2:
        raise DataError(f"{source}: 'factors' must have the shape [n, F], not {factors.shape}")
    return {str(i): factors[:, i] for i in range(factors.shape[1])}


def to_named(examples: Arrays | Batch) -> dict[str, Any]:
    """What examples have, by the names that the arrays have in a file; undoes ``to_arrays``."""
    named: dict[str, Any] = {}
    for name in _FIELDS:
        value = getattr(examples, name, None)  # a batch has no factors
        if isinstance(value, Mapping):
            named |= {f"{name}.{key}": array for key, array in value.items()}
        elif value is not None:
            named[name] = value
    return named
