"""A data set whose examples Python gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import chain
from typing import Any

from vaezoo.data.array_examples import Arrays
from vaezoo.data.arrays import ArrayDataset, ArraySupport
from vaezoo.data.conversion import InMemoryData, Table, convert
from vaezoo.data.dataset import Dataset, Split
from vaezoo.data.datasets.npz import to_named
from vaezoo.data.dataspec import DataSpec
from vaezoo.data.fingerprint import Fingerprint, hash_arrays, hash_texts
from vaezoo.data.items import ItemDataset
from vaezoo.data.splits import Fractions
from vaezoo.data.table import Missing, TableDataset
from vaezoo.utils.errors import DataError, UsageError


class MemoryDataset(Dataset):
    """Data that Python gives: ``vaezoo.run(spec, data=...)``.

    The data is a numpy array ``[n, ...]``, a torch tensor, a pair ``(x, y)`` of these, a
    ``vaezoo.Batch``, a data frame of pandas or polars, or a map-style data set of torch whose
    items are ``x`` or ``(x, y)``. Arrays are read as those of ``npz``, and data frames as ``csv``.
    Items are read when they are needed.

    Args:
        support: for arrays and items, the values that ``x`` may take, or for data of several parts
            those of each by name; ``auto`` derives them from ``x``, of items from 16 of them.
        numeric, categorical, condition, factors, missing: for data frames, as for ``csv``.
        fractions: the shares of train, validation and test.
        split_seed: decides which example belongs to which split.
    """

    def __init__(
        self,
        *,
        support: ArraySupport | dict[str, ArraySupport] = "auto",
        numeric: list[str] | None = None,
        categorical: list[str] | None = None,
        condition: str | None = None,
        factors: Sequence[str] = (),
        missing: Missing = "error",
        fractions: Fractions = (0.8, 0.1, 0.1),
        split_seed: int = 0,
    ) -> None:
        self.support, self.fractions, self.split_seed = support, fractions, split_seed
        self.numeric, self.categorical = numeric, categorical
        self.condition, self.factors, self.missing = condition, factors, missing
        self.kind = ""
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
        """As for arrays, for a csv file or for items."""
        return self._dataset.left_out

    @property
    def notes(self) -> Sequence[str]:
        """As for arrays, for a csv file or for items."""
        return self._dataset.notes

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """A hash of the data as it was given; of items that are read when needed, of some."""
        data, dataset = self._data, self._dataset
        if isinstance(dataset, ItemDataset):
            return dataset.fingerprint
        if isinstance(data, Table):
            cells = chain.from_iterable(row for _, row in data.rows)
            texts = chain([str(len(data.names))], data.names, cells)
            return Fingerprint(hash_texts(texts), len(data.rows), len(data.rows))
        assert isinstance(data, Arrays)
        return Fingerprint(hash_arrays(to_named(data)), len(data), len(data))

    @cached_property
    def _dataset(self) -> ArrayDataset | TableDataset | ItemDataset:
        data = self._data
        if data is None:
            raise UsageError("data: memory: Python gives the data: vaezoo.run(spec, data=...)")
        if isinstance(data, Table):
            if self.support != "auto":
                raise DataError(
                    "data.support is for arrays; the columns of a data frame have kinds"
                )
            return TableDataset(
                data.names,
                data.rows,
                source="data frame",
                numeric=self.numeric,
                categorical=self.categorical,
                condition=self.condition,
                factors=self.factors,
                missing=self.missing,
                fractions=self.fractions,
                split_seed=self.split_seed,
            )
        self._check_no_columns()
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

    def _check_no_columns(self) -> None:
        """Raises DataError if an option for data frames is set."""
        for name in ("numeric", "categorical", "condition"):
            if getattr(self, name) is not None:
                raise DataError(f"data.{name} names columns, but the data is a {self.kind}")
        if self.factors:
            raise DataError(f"data.factors names columns, but the data is a {self.kind}")
        if self.missing != "error":
            raise DataError(f"data.missing is for data frames, but the data is a {self.kind}")
