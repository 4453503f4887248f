"""A data set whose examples Python gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from vaezoo.data.array_examples import Arrays
from vaezoo.data.arrays import ArrayDataset, ArraySupport
from vaezoo.data.conversion import InMemoryData, convert
from vaezoo.data.dataset import InMemoryDataset, Split
from vaezoo.data.datasets.npz import to_named
from vaezoo.data.dataspec import DataSpec
from vaezoo.data.fingerprint import Fingerprint, hash_arrays
from vaezoo.data.items import ItemDataset
from vaezoo.data.splits import Fractions
from vaezoo.utils.errors import DataError, UsageError


class MemoryDataset(InMemoryDataset):
    """Data that Python gives: ``vaezoo.run(spec, data=...)``.

    The data is a numpy array ``[n, ...]``, a torch tensor, a pair ``(x, y)`` of these, a
    ``vaezoo.Batch``, or a map-style data set of torch whose items are ``x`` or ``(x, y)``. Arrays
    are read as those of ``npz``. Items are read when they are needed. Data frames are for the data
    set ``table`` of vaezoo-tabular.

    Args:
        support: for arrays and items, the values that ``x`` may take, or for data of several parts
            those of each by name; ``auto`` derives them from ``x``, of items from 16 of them.
        fractions: the shares of train, validation and test.
        split_seed: decides which example belongs to which split.
    """

    def __init__(
        self,
        *,
        support: ArraySupport | dict[str, ArraySupport] = "auto",
        fractions: Fractions = (0.8, 0.1, 0.1),
        split_seed: int = 0,
    ) -> None:
        self.support, self.fractions, self.split_seed = support, fractions, split_seed
        self._data: InMemoryData | None = None

    def set_data(self, data: Any) -> None:
        """Takes the data; only once, because what is derived from it is kept.

        Raises:
            UsageError: it is nothing that can be trained on, or there is data already.
            DataError: a part of it cannot be converted.
        """
        if self._data is not None:
            raise UsageError(f"data: memory: already has its data, a {self.kind}")
        self.kind, self._data = convert(data)

    @property
    def spec(self) -> DataSpec:
        """Described by the data."""
        return self._dataset.spec

    def split(self, name: str) -> Split:
        """Returns one of the three splits."""
        return self._dataset.split(name)

    @property
    def sizes(self) -> Mapping[str, int]:
        """The number of examples of each split."""
        return self._dataset.sizes

    @property
    def left_out(self) -> Sequence[str]:
        """As for arrays or for items."""
        return self._dataset.left_out

    @property
    def notes(self) -> Sequence[str]:
        """As for arrays or for items."""
        return self._dataset.notes

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """A hash of the data as it was given; of items that are read when needed, of some."""
        data, dataset = self._data, self._dataset
        if isinstance(dataset, ItemDataset):
            return dataset.fingerprint
        assert isinstance(data, Arrays)
        return Fingerprint(hash_arrays(to_named(data)), len(data), len(data))

    @cached_property
    def _dataset(self) -> ArrayDataset | ItemDataset:
        data = self._data
        if data is None:
            raise UsageError("data: memory: Python gives the data: vaezoo.run(spec, data=...)")
        if isinstance(data, Arrays):
            return ArrayDataset(
                data,
                source="data",
                support=self.support,
                fractions=self.fractions,
                split_seed=self.split_seed,
            )
        if not isinstance(self.support, str):
            raise DataError("data.support by part is for a vaezoo.Batch; items have no parts")
        return ItemDataset(
            data, support=self.support, fractions=self.fractions, split_seed=self.split_seed
        )
