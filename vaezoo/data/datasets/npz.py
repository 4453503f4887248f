"""A data set from the arrays of one npz file."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from vaezoo.data.arrays import ArrayDataset, Arrays, ArraySupport
from vaezoo.data.batch import Batch
from vaezoo.data.dataset import Dataset, Split
from vaezoo.data.dataspec import DataSpec
from vaezoo.data.splits import Fractions
from vaezoo.utils.errors import DataError, one_line
from vaezoo.utils.paths import find_data

_FIELDS = ("x", "condition", "mask", "extras", "present")
_NAMES = ("x", "condition", "mask", "lengths")
"""The arrays that are read from an npz file; others are ignored."""
_PREFIXES = ("x.", "mask.", "present.", "extras.")
"""The beginnings of the names of arrays of parts and extras."""


class NpzDataset(Dataset):
    """An npz file with the array ``x`` and, optionally, ``condition`` and ``mask``.

    ``x`` has the shape ``[n, ...]``. Integer ``x`` is binary if it contains only 0 and 1;
    otherwise it is an image with values from 0 to 255, which are divided by 255. ``condition`` has
    the shape ``[n]`` or ``[n, ...]``; integers ``[n]`` are class labels, counted from 0,
    everything else is a vector of numbers. ``mask`` covers leading dimensions of each example and
    is nonzero where ``x`` is observed; ``x`` may be NaN where it is not.

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
        path: str,
        support: ArraySupport | dict[str, ArraySupport] = "auto",
        fractions: Fractions = (0.8, 0.1, 0.1),
        split_seed: int = 0,
    ) -> None:
        self.path, self.support = path, support
        self.fractions, self.split_seed = fractions, split_seed

    @cached_property
    def _dataset(self) -> ArrayDataset:
        return ArrayDataset(
            to_arrays(read_npz(find_data(self.path))),
            source=self.path,
            support=self.support,
            fractions=self.fractions,
            split_seed=self.split_seed,
        )

    @property
    def spec(self) -> DataSpec:
        """Described by the arrays."""
        return self._dataset.spec

    def split(self, name: str) -> Split:
        """Returns one of the three splits."""
        return self._dataset.split(name)


def read_npz(file: Path) -> dict[str, np.ndarray]:
    """Reads the arrays of examples: ``x``, ``condition``, ``mask``, ``lengths``, and those of
    parts and extras; all but ``x`` are optional.

    Raises:
        DataError: it is no npz file, is damaged, has no ``x``, or has one array for all parts
            beside those of single parts.
    """
    if not zipfile.is_zipfile(file):
        raise DataError(f"{file}: not an npz file")
    try:
        with np.load(file, allow_pickle=False) as archive:
            arrays = {
                name: archive[name]
                for name in archive.files
                if name in _NAMES or name.startswith(_PREFIXES)
            }
    except Exception as error:  # zipfile, zlib and numpy raise many types on damaged files
        reason = one_line(error)
        if "allow_pickle" in reason:
            reason = (
                "it contains Python objects; store sequences of different lengths as x [steps, D] "
                "with lengths [n]"
            )
        raise DataError(f"{file}: not a readable npz file: {reason}") from error
    for name in ("x", "mask"):
        if name in arrays and any(key.startswith(f"{name}.") for key in arrays):
            raise DataError(f"{file}: has arrays '{name}' and '{name}.NAME'; use one")
    if not any(name.partition(".")[0] == "x" for name in arrays):
        raise DataError(f"{file}: has no array 'x'")
    return arrays


def to_arrays(arrays: Mapping[str, np.ndarray]) -> Arrays:
    """The arrays of a file, by what they are."""

    def named(prefix: str) -> dict[str, np.ndarray]:
        return {
            name.removeprefix(prefix): array
            for name, array in arrays.items()
            if name.startswith(prefix)
        }

    return Arrays(
        x=arrays["x"] if "x" in arrays else named("x."),
        condition=arrays.get("condition"),
        mask=arrays["mask"] if "mask" in arrays else named("mask.") or None,
        extras=named("extras."),
        present=named("present."),
    )


def to_named(examples: Arrays | Batch) -> dict[str, Any]:
    """What examples have, by the names that the arrays have in a file; undoes ``to_arrays``."""
    named: dict[str, Any] = {}
    for name in _FIELDS:
        value = getattr(examples, name)
        if isinstance(value, Mapping):
            named |= {f"{name}.{key}": array for key, array in value.items()}
        elif value is not None:
            named[name] = value
    return named
