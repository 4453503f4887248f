"""A data set from a csv file with numeric and categorical columns, and an optional class label."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import numpy as np
import torch
from annotated_types import Len

from vaezoo.data.dataset import Dataset, Split
from vaezoo.data.dataspec import DataSpec
from vaezoo.data.splits import Fractions, split_indices
from vaezoo.utils.errors import DataError, did_you_mean
from vaezoo.utils.paths import find_data

_MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "?"})
Row: TypeAlias = tuple[int, list[str]]
"""A line number of the file and the cells of that row."""


class CsvDataset(Dataset):
    """A csv file with one example per row. Numbers are standardised, categories are one-hot.

    ``x`` holds the columns in the order of the file. A number is standardised with the mean and
    the standard deviation of the training split: (value - mean) / standard deviation. Samples and
    likelihoods of a model are in these standardised units.

    Args:
        path: the file; a relative path is looked up in the working directory, then in
            ``VAEZOO_DATA``.
        numeric: the numeric columns; by default every column that is not named in another option
            and contains only numbers.
        categorical: the categorical columns; by default every remaining column.
        condition: a column of class labels, which is not part of ``x``.
        header: whether the first row contains the names of the columns; otherwise they are 0, 1, 2
            and so on.
        delimiter: the character between columns.
        missing: how to treat a row with an empty cell (also NA, N/A, NaN, null, none and ?) in a
            column that is used: ``error`` reports it, ``drop`` removes the row, ``mean`` inserts
            the mean of the training split for a number, and a separate category for a category.
        fractions: the shares of train, validation and test.
        split_seed: decides which example belongs to which split.
    """

    def __init__(
        self,
        *,
        path: str,
        numeric: list[str] | None = None,
        categorical: list[str] | None = None,
        condition: str | None = None,
        header: bool = True,
        delimiter: Annotated[str, Len(1, 1)] = ",",
        missing: Literal["error", "drop", "mean"] = "error",
        fractions: Fractions = (0.8, 0.1, 0.1),
        split_seed: int = 0,
    ) -> None:
        self.path, self.condition = path, condition
        self.numeric, self.categorical = numeric, categorical
        self.header, self.delimiter, self.missing = header, delimiter, missing
        self.fractions, self.split_seed = fractions, split_seed

    @property
    def spec(self) -> DataSpec:
        """A vector of all columns."""
        x, _, classes = self._encoded
        return DataSpec(
            (x.shape[1],), "real", classes=classes, condition_shape=() if classes else None
        )

    def split(self, name: str) -> Split:
        """Returns one of the three splits."""
        x, labels, _ = self._encoded
        index = self._splits[name]
        condition = None if labels is None else torch.from_numpy(labels[index])
        return Split(torch.from_numpy(x[index]), condition)

    @cached_property
    def _table(self) -> tuple[list[str], list[Row]]:
        """The names of the columns, and the rows without those that are dropped."""
        file = find_data(self.path)
        rows = self._read_rows(file)
        header = rows.pop(0)[1] if self.header else [str(i) for i in range(len(rows[0][1]))]
        rows = [
            (line, ["" if _is_missing(cell) else cell.strip() for cell in row])
            for line, row in rows
        ]
        names = [cell.strip() for cell in header]
        if len(set(names)) != len(names):
            raise DataError(f"{file}: two columns have the same name: {', '.join(names)}")
        for line, row in rows:
            if len(row) != len(names):
                raise DataError(f"{file}:{line}: has {len(row)} cells, expected {len(names)}")
        self._check_options(names)
        return names, self._drop_missing(names, rows)

    def _read_rows(self, file: Path) -> list[Row]:
        """Reads all rows, with the header if there is one."""
        try:
            with open(file, newline="", encoding="utf-8-sig") as stream:
                reader = csv.reader(stream, delimiter=self.delimiter)
                rows = [(reader.line_num, row) for row in reader if row]
        except (OSError, UnicodeError, csv.Error) as error:
            raise DataError(f"{file}: cannot be read as csv: {error}") from error
        if len(rows) <= self.header:
            raise DataError(f"{file}: has no rows")
        return rows

    def _check_options(self, names: list[str]) -> None:
        """Checks that the columns named in the options exist, each named once."""
        columns = [
            *(self.numeric or ()),
            *(self.categorical or ()),
            *filter(None, [self.condition]),
        ]
        for name in columns:
            if name not in names:
                raise DataError(f"{self.path}: no column {name!r}{did_you_mean(name, names)}")
            if columns.count(name) > 1:
                raise DataError(f"{self.path}: column {name!r} is named twice in the options")

    def _is_used(self, name: str) -> bool:
        """Whether a column is used: not if both kinds are listed and it is in neither list."""
        if self.numeric is None or self.categorical is None:
            return True
        return name in (*self.numeric, *self.categorical) or name == self.condition

    def _drop_missing(self, names: list[str], rows: list[Row]) -> list[Row]:
        """Applies the option ``missing`` to rows with empty cells in used columns."""
        complete = []
        for line, row in rows:
            cells = zip(names, row, strict=True)
            empty = [name for name, cell in cells if not cell and self._is_used(name)]
            place = f"{self.path}:{line}: column"
            if self.condition in empty and self.missing != "drop":
                raise DataError(f"{place} {self.condition!r} has no label; use missing: drop")
            if empty and self.missing == "error":
                raise DataError(f"{place} {empty[0]!r} is empty; set missing to drop or mean")
            if not empty or self.missing == "mean":
                complete.append((line, row))
        if not complete:
            raise DataError(f"{self.path}: every row has an empty cell")
        return complete

    @cached_property
    def _splits(self) -> dict[str, np.ndarray]:
        return split_indices(len(self._table[1]), self.fractions, self.split_seed, self.path)

    @cached_property
    def _encoded(self) -> tuple[np.ndarray, np.ndarray | None, tuple[str, ...]]:
        """``x`` ``[n, D]``, labels ``[n]``, and the names of the classes."""
        names, rows = self._table
        blocks = []
        for column, name in enumerate(names):
            cells = [row[column] for _, row in rows]
            if name == self.condition or not self._is_used(name):
                continue
            if self._is_numeric(name, cells):
                blocks.append(self._standardise(name, cells))
            elif self.categorical is None or name in self.categorical:
                blocks.append(_one_hot(cells, sorted(set(cells))))
        if not blocks:
            raise DataError(
                f"{self.path}: no columns are left for x; name some in numeric or categorical"
            )
        x = np.concatenate(blocks, 1).astype(np.float32)
        if self.condition is None:
            return x, None, ()
        cells = [row[names.index(self.condition)] for _, row in rows]
        classes = sorted(set(cells))
        return x, np.array([classes.index(cell) for cell in cells], np.int64), tuple(classes)

    def _is_numeric(self, name: str, cells: Sequence[str]) -> bool:
        if self.numeric is not None:
            return name in self.numeric
        return name not in (self.categorical or ()) and all(
            not cell or is_number(cell) for cell in cells
        )

    def _standardise(self, name: str, cells: Sequence[str]) -> np.ndarray:
        """Standardises a numeric column with the training split's mean and scale, ``[n, 1]``."""
        values = np.full(len(cells), math.nan)
        for i, cell in enumerate(cells):
            if cell and not (is_number(cell) and math.isfinite(float(cell))):
                line = self._table[1][i][0]
                raise DataError(
                    f"{self.path}:{line}: column {name!r}: {cell!r} is not a finite number"
                )
            if cell:
                values[i] = float(cell)
        train = values[self._splits["train"]]
        if np.isnan(train).all():
            raise DataError(f"{self.path}: column {name!r} has no number in the training split")
        mean, scale = np.nanmean(train), np.nanstd(train)
        values = np.where(np.isnan(values), mean, values)
        return ((values - mean) / (scale if scale > 0 else 1.0))[:, None]


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
