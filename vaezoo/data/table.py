"""A data set from the rows of a table, with numeric and categorical columns and a class label."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias

import numpy as np
import torch

from vaezoo.data.dataset import Dataset, Split
from vaezoo.data.dataspec import DataSpec, Field
from vaezoo.data.splits import split_indices
from vaezoo.utils.errors import DataError, did_you_mean

_MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "?"})
Row: TypeAlias = tuple[int, list[str]]
"""A line number of the file and the cells of that row."""
Missing: TypeAlias = Literal["error", "drop", "mean"]
"""What to do with empty cells; see ``TableDataset``."""


@dataclass(frozen=True)
class _Block:
    """The columns of ``x`` that one column of the table becomes, ``[n, columns]``."""

    name: str
    values: np.ndarray
    categories: tuple[str, ...] = ()
    offset: float = 0.0
    scale: float = 1.0


class TableDataset(Dataset):
    """Rows as vectors: numbers are standardised, categories are one-hot.

    ``x`` holds the columns in the order of the table; ``DataSpec.fields`` says where each of them
    is. A number is standardised with the mean and the standard deviation of the training split:
    (value - mean) / standard deviation.

    Args:
        names: the names of the columns.
        rows: the rows, with their cells as text.
        source: names the table in messages.
        numeric: the numeric columns; by default every column that is not named in another option
            and contains only numbers.
        categorical: the categorical columns; by default every remaining column.
        condition: a column of class labels, which is not part of ``x``.
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
        missing: Missing = "error",
        fractions: Sequence[float] = (0.8, 0.1, 0.1),
        split_seed: int = 0,
    ) -> None:
        self.names, self.source, self.condition = list(names), source, condition
        self.numeric, self.categorical, self.missing = numeric, categorical, missing
        self._check_names()
        self.rows = self._without_missing(
            [
                (line, ["" if _is_missing(cell) else cell.strip() for cell in row])
                for line, row in rows
            ]
        )
        self._splits = split_indices(len(self.rows), fractions, split_seed, source)

    @cached_property
    def spec(self) -> DataSpec:
        """A vector of all columns."""
        fields, start = [], 0
        for block in self._blocks:
            columns = (start, start + block.values.shape[1])
            kind: Literal["categorical", "numeric"]
            kind = "categorical" if block.categories else "numeric"
            fields.append(
                Field(
                    block.name,
                    kind,
                    columns,
                    categories=block.categories,
                    offset=block.offset,
                    scale=block.scale,
                )
            )
            start = columns[1]
        classes = self._labels[1]
        return DataSpec(
            (start,),
            "mixed" if any(field.categories for field in fields) else "real",
            classes=classes,
            condition_shape=() if classes else None,
            fields=tuple(fields),
        )

    def split(self, name: str) -> Split:
        """Returns one of the three splits."""
        index, (labels, _) = self._splits[name], self._labels
        condition = None if labels is None else torch.from_numpy(labels[index])
        return Split(torch.from_numpy(self._x[index]), condition)

    @cached_property
    def _x(self) -> np.ndarray:
        """All examples, float32 ``[n, D]``."""
        return np.concatenate([block.values for block in self._blocks], 1).astype(np.float32)

    def _check_names(self) -> None:
        """Checks that the columns named in the options exist, each named once."""
        names = self.names
        if len(set(names)) != len(names):
            raise DataError(f"{self.source}: two columns have the same name: {', '.join(names)}")
        columns = [
            *(self.numeric or ()),
            *(self.categorical or ()),
            *filter(None, [self.condition]),
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
        return name in (*self.numeric, *self.categorical) or name == self.condition

    def _without_missing(self, rows: Sequence[Row]) -> list[Row]:
        """Applies the option ``missing`` to rows with empty cells in used columns."""
        complete = []
        for line, row in rows:
            cells = zip(self.names, row, strict=True)
            empty = [name for name, cell in cells if not cell and self._is_used(name)]
            place = f"{self.source}:{line}: column"
            if self.condition in empty and self.missing != "drop":
                raise DataError(f"{place} {self.condition!r} has no label; use missing: drop")
            if empty and self.missing == "error":
                raise DataError(f"{place} {empty[0]!r} is empty; set missing to drop or mean")
            if not empty or self.missing == "mean":
                complete.append((line, row))
        if not complete:
            raise DataError(f"{self.source}: every row has an empty cell")
        return complete

    def _cells(self, name: str) -> list[str]:
        column = self.names.index(name)
        return [row[column] for _, row in self.rows]

    @cached_property
    def _labels(self) -> tuple[np.ndarray | None, tuple[str, ...]]:
        """The labels ``[n]``, or None, and the names of the classes."""
        if self.condition is None:
            return None, ()
        cells = self._cells(self.condition)
        classes = sorted(set(cells))
        return np.array([classes.index(cell) for cell in cells], np.int64), tuple(classes)

    @cached_property
    def _blocks(self) -> list[_Block]:
        """The columns of ``x``, by column of the table."""
        blocks = []
        for name in self.names:
            cells = self._cells(name)
            if name == self.condition or not self._is_used(name):
                continue
            if self._is_numeric(name, cells):
                blocks.append(self._standardise(name, cells))
            elif self.categorical is None or name in self.categorical:
                categories = sorted(set(cells))
                blocks.append(_Block(name, _one_hot(cells, categories), tuple(categories)))
        if not blocks:
            raise DataError(
                f"{self.source}: no columns are left for x; name some in numeric or categorical"
            )
        return blocks

    def _is_numeric(self, name: str, cells: Sequence[str]) -> bool:
        if self.numeric is not None:
            return name in self.numeric
        return name not in (self.categorical or ()) and all(
            not cell or is_number(cell) for cell in cells
        )

    def _standardise(self, name: str, cells: Sequence[str]) -> _Block:
        """Standardises a numeric column with the training split's mean and scale."""
        values = np.full(len(cells), math.nan)
        for i, cell in enumerate(cells):
            if cell and not (is_number(cell) and math.isfinite(float(cell))):
                line = self.rows[i][0]
                raise DataError(
                    f"{self.source}:{line}: column {name!r}: {cell!r} is not a finite number"
                )
            if cell:
                values[i] = float(cell)
        train = values[self._splits["train"]]
        if np.isnan(train).all():
            raise DataError(f"{self.source}: column {name!r} has no number in the training split")
        mean, deviation = float(np.nanmean(train)), float(np.nanstd(train))
        scale = deviation if deviation > 0 else 1.0
        values = np.where(np.isnan(values), mean, values)
        return _Block(name, ((values - mean) / scale)[:, None], offset=mean, scale=scale)


def _is_missing(cell: str) -> bool:
    return cell.strip().lower() in _MISSING


def is_number(cell: str) -> bool:
    """Whether Python can parse a csv cell as a number, NaN and infinity included."""
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _one_hot(cells: Sequence[str], values: Sequence[str]) -> np.ndarray:
    index = {value: i for i, value in enumerate(values)}
    return np.eye(len(values))[[index[cell] for cell in cells]]
