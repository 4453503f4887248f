"""A data set from the rows of a table, with numeric and categorical columns and a class label."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Literal, TypeAlias

import numpy as np
import torch

from vaezoo.data.cells import first_non_number, has_leading_zeros, is_missing
from vaezoo.data.columns import (
    Column,
    category_indices,
    check_size,
    holds_numbers,
    label_indices,
    standardised_column,
)
from vaezoo.data.csv_file import Row
from vaezoo.data.dataset import Dataset, Split
from vaezoo.data.dataspec import DataSpec, Field
from vaezoo.data.factors import Factors, read_factors
from vaezoo.data.phrases import count_phrase, untrained_classes
from vaezoo.data.splits import split_indices
from vaezoo.utils.errors import DataError, did_you_mean

Missing: TypeAlias = Literal["error", "drop", "mean"]
"""What to do with empty cells; see ``TableDataset``."""


class TableDataset(Dataset):
    """Rows as vectors: numbers are standardised, categories are one-hot.

    ``x`` holds the columns in the order of the table; ``DataSpec.fields`` says where each of them
    is. A number is standardised with the mean and the standard deviation of the training split:
    (value - mean) / standard deviation. A column that is constant there keeps its scale.

    Args:
        names: the names of the columns.
        rows: the rows, with their cells as text.
        source: names the table in messages.
        numeric: the numeric columns; by default every column that is not named in another option
            and contains only numbers.
        categorical: the categorical columns; by default every remaining column.
        condition: a column of class labels, which is not part of ``x``. Empty cells are unknown
            labels, unless ``missing`` is ``drop``.
        factors: columns of ground-truth factors, which are not part of ``x``.
        missing: how to treat a row with an empty cell in a column that is used: ``error`` reports
            it, ``drop`` removes the row, ``mean`` inserts the mean of the training split for a
            number, and a separate category for a category.
        fractions: the shares of train, validation and test.
        split_seed: decides which example belongs to which split.

    Raises:
        vaezoo.DataError: the table and the options do not fit; names the line and the column.
    """

    def __init__(
        self,
        names: Sequence[str],
        rows: Sequence[Row],
        *,
        source: str,
        numeric: Sequence[str] | None = None,
        categorical: Sequence[str] | None = None,
        condition: str | None = None,
        factors: Sequence[str] = (),
        missing: Missing = "error",
        fractions: Sequence[float] = (0.8, 0.1, 0.1),
        split_seed: int = 0,
    ) -> None:
        self.names, self.source, self.condition = list(names), source, condition
        self.numeric, self.categorical, self.missing = numeric, categorical, missing
        self.factors = factors
        self._check_names()
        self.rows, self._incomplete = self._without_missing(
            [
                (line, ["" if is_missing(cell) else cell.strip() for cell in row])
                for line, row in rows
            ]
        )
        self._splits = split_indices(len(self.rows), fractions, split_seed, source)

    @cached_property
    def spec(self) -> DataSpec:
        """A vector of all columns."""
        fields, start = [], 0
        for column in self._columns:
            kind: Literal["categorical", "numeric"]
            kind = "categorical" if column.categories else "numeric"
            field = Field(
                column.name,
                kind,
                (start, start + column.width),
                categories=column.categories,
                offset=column.offset,
                scale=column.scale,
            )
            fields.append(field)
            start += column.width
        classes = self._labels[1]
        return DataSpec(
            (start,),
            "mixed" if any(field.categories for field in fields) else "real",
            classes=classes,
            condition_shape=() if classes else None,
            fields=tuple(fields),
            factors=() if self._factors is None else self._factors.fields,
        )

    def split(self, name: str) -> Split:
        """Returns one of the three splits."""
        index, (labels, _) = self._splits[name], self._labels
        condition = None if labels is None else torch.from_numpy(labels[index])
        factors = None if self._factors is None else self._factors.values[index]
        return Split(torch.from_numpy(self._x[index]), condition, factors=factors)

    @property
    def sizes(self) -> dict[str, int]:
        """The number of examples of each split."""
        return {name: len(index) for name, index in self._splits.items()}

    @property
    def left_out(self) -> list[str]:
        """Rows and columns that are not used."""
        unused = [name for name in self.names if not self._is_used(name)]
        return [
            *count_phrase(self._incomplete, "row with an empty cell", "rows with empty cells"),
            *count_phrase(unused, "column that no option names", "columns that no option names"),
        ]

    @property
    def notes(self) -> list[str]:
        """Columns that may be meant otherwise, and what no row of the training split has."""
        binned = () if self._factors is None else self._factors.notes
        return [*self._ambiguous_columns(), *binned, *self._untrained_values()]

    def _ambiguous_columns(self) -> Iterator[str]:
        """Columns that no option names and that may be meant otherwise than they are read."""
        for column in self._columns:
            cells, name = self._cells(column.name), column.name
            if name in (*(self.numeric or ()), *(self.categorical or ())):
                continue
            if column.categories:
                place = first_non_number(cells)
                what = "numbers"
                reason = "so that its values are categories; mend it, or list it in categorical"
            else:
                place = next((i for i, cell in enumerate(cells) if has_leading_zeros(cell)), None)
                what = "zeros before numbers"
                reason = "read as a number; if these are codes, list it in categorical"
            if place is not None:
                line, cell = self.rows[place][0], cells[place]
                yield f"{what} of column {name!r} ({cell!r} in line {line}, {reason})"

    def _untrained_values(self) -> Iterator[str]:
        """Categories and classes that only rows of other splits than the training split have."""
        train = self._splits["train"]
        kinds = [(each.values, each.categories, each.name) for each in self._columns]
        labels, classes = self._labels
        if labels is not None:
            kinds.append((labels, classes, str(self.condition)))
        for values, categories, name in kinds:
            if categories:
                yield from untrained_classes(
                    values[train],
                    [category or "no value" for category in categories],
                    f"value of {name!r} without a training row",
                    f"values of {name!r} without a training row",
                )

    @cached_property
    def _x(self) -> np.ndarray:
        """All examples, float32 ``[n, D]``."""
        columns = self._columns
        rows, places = len(self.rows), np.arange(len(self.rows))
        x = np.zeros((rows, sum(column.width for column in columns)), np.float32)
        start = 0
        for column in columns:
            if column.categories:
                x[places, start + column.values] = 1
            else:
                x[:, start] = column.values
            start += column.width
        return x

    def _check_names(self) -> None:
        """Checks the names of the columns, and that those in the options exist, each once."""
        names = self.names
        for place, name in enumerate(names):
            if not name:
                raise DataError(
                    f"{self.source}: column {place + 1} has no name; name it, or remove it"
                )
            if name in names[:place]:
                raise DataError(f"{self.source}: two columns have the same name {name!r}")
        columns = [
            *(self.numeric or ()),
            *(self.categorical or ()),
            *filter(None, [self.condition]),
            *self.factors,
        ]
        for name in columns:
            if name not in names:
                raise DataError(f"{self.source}: no column {name!r}{did_you_mean(name, names)}")
            if columns.count(name) > 1:
                raise DataError(f"{self.source}: column {name!r} is named twice in the options")

    def _is_used(self, name: str) -> bool:
        """Whether a column is used: not if both kinds are listed and it is in neither list."""
        if self.numeric is None or self.categorical is None:
            return True
        return name in (*self.numeric, *self.categorical, self.condition, *self.factors)

    def _without_missing(self, rows: Sequence[Row]) -> tuple[list[Row], list[int]]:
        """Applies the option ``missing`` to rows with empty cells in used columns.

        Returns:
            The rows that are kept, and the lines of those that are dropped.
        """
        complete, dropped = [], []
        for line, row in rows:
            cells = zip(self.names, row, strict=True)
            empty = [name for name, cell in cells if not cell and self._is_used(name)]
            if self.missing != "drop" and self.condition in empty:
                empty.remove(self.condition)  # an unknown label
            if empty and self.missing == "error":
                place = f"{self.source}:{line}: column"
                raise DataError(f"{place} {empty[0]!r} is empty; set missing to drop or mean")
            if not empty or self.missing == "mean":
                complete.append((line, row))
            else:
                dropped.append(line)
        if not complete:
            raise DataError(f"{self.source}: every row has an empty cell")
        return complete, dropped

    def _cells(self, name: str) -> list[str]:
        column = self.names.index(name)
        return [row[column] for _, row in self.rows]

    @cached_property
    def _labels(self) -> tuple[np.ndarray | None, tuple[str, ...]]:
        """The labels ``[n]``, -1 where unknown, or None, and the names of the classes."""
        if self.condition is None:
            return None, ()
        labels, classes = label_indices(self._cells(self.condition))
        if not classes:
            raise DataError(f"{self.source}: column {self.condition!r} has no label")
        return labels, classes

    @cached_property
    def _factors(self) -> Factors | None:
        return read_factors({name: self._cells(name) for name in self.factors}, self.source)

    @cached_property
    def _columns(self) -> list[Column]:
        """The columns that become ``x``."""
        columns, train = [], self._splits["train"]
        for name in self.names:
            if name in (self.condition, *self.factors) or not self._is_used(name):
                continue
            cells = self._cells(name)
            if self._is_numeric(name, cells):
                columns.append(standardised_column(name, cells, self.rows, train, self.source))
            elif self.categorical is None or name in self.categorical:
                columns.append(Column(name, *category_indices(cells)))
        if not columns:
            raise DataError(
                f"{self.source}: no columns are left for x; name some in numeric or categorical"
            )
        check_size(columns, len(self.rows), self.source)
        return columns

    def _is_numeric(self, name: str, cells: Sequence[str]) -> bool:
        """Whether a column holds numbers, by the options or by its cells.

        Raises:
            DataError: its cells are numbers in a form that is not read.
        """
        if self.numeric is not None:
            return name in self.numeric
        if name in (self.categorical or ()):
            return False
        return holds_numbers(name, cells, self.rows, self.source)
