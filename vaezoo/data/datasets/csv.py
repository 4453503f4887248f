"""Tables in csv files: numeric columns, categorical columns, and a label."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, Literal

import numpy as np
import torch
from annotated_types import Len

from vaezoo.data.dataset import Dataset, Split
from vaezoo.data.dataspec import DataSpec
from vaezoo.data.splits import Fractions, split_indices
from vaezoo.utils.errors import DataError, did_you_mean
from vaezoo.utils.paths import find_data

_MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "?"})


class Csv(Dataset):
    """A csv file, one example a row. Numbers are standardised by the training split, categories are one-hot.

    ``x`` holds the columns in the order of the file, and is not in their units: a number is (value - mean) / standard
    deviation of the training split, and so are a model's samples and its likelihood.

    Args:
        path: the file; a relative path is looked for in the working directory, then in ``VAEZOO_DATA``.
        numeric: columns of numbers; by default every column, not named otherwise, that holds nothing else.
        categorical: columns of categories; by default every other column.
        condition: a column of labels, which is then no part of ``x``.
        header: whether the first row names the columns; else they are 0, 1, 2 and so on.
        delimiter: what separates columns.
        missing: what to do where a cell of these columns is empty, NA, N/A, NaN, null, none or ?: an ``error``,
            ``drop`` the row, or ``mean`` (of the training split; for a category, one of its own).
        fractions: the shares of train, validation and test.
        split_seed: decides which example goes where.
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
        self.path, self.numeric, self.categorical, self.condition = path, numeric, categorical, condition
        self.header, self.delimiter, self.missing = header, delimiter, missing
        self.fractions, self.split_seed = fractions, split_seed

    @property
    def spec(self) -> DataSpec:
        """One vector."""
        x, _, classes = self._encoded
        return DataSpec((x.shape[1],), "real", classes=classes, condition_shape=() if classes else None)

    def split(self, name: str) -> Split:
        """One of the three splits."""
        x, labels, _ = self._encoded
        part = self._parts[name]
        condition = None if labels is None else torch.from_numpy(labels[part])
        return Split(torch.from_numpy(x[part]), condition)

    @cached_property
    def _table(self) -> tuple[list[str], list[tuple[int, list[str]]]]:
        """Column names, and rows with their line numbers."""
        file = find_data(self.path)
        rows: list[tuple[int, list[str]]] = []
        try:
            with open(file, newline="", encoding="utf-8-sig") as opened:
                reader = csv.reader(opened, delimiter=self.delimiter)
                rows = [(reader.line_num, row) for row in reader if row]
        except (OSError, UnicodeError, csv.Error) as error:
            raise DataError(f"{file}: cannot be read as csv: {error}") from error
        if len(rows) <= self.header:
            raise DataError(f"{file}: has no rows")
        header = rows.pop(0)[1] if self.header else [str(i) for i in range(len(rows[0][1]))]
        rows = [(line, ["" if _is_missing(cell) else cell.strip() for cell in row]) for line, row in rows]
        names = [cell.strip() for cell in header]
        if len(set(names)) != len(names):
            raise DataError(f"{file}: two columns have the same name: {', '.join(names)}")
        for line, row in rows:
            if len(row) != len(names):
                raise DataError(f"{file}:{line}: has {len(row)} cells, expected {len(names)}")
        self._check(names)
        return names, self._without_missing(names, rows)

    def _check(self, names: list[str]) -> None:
        asked = [*(self.numeric or ()), *(self.categorical or ()), *filter(None, [self.condition])]
        for name in asked:
            if name not in names:
                raise DataError(f"{self.path}: no column {name!r}{did_you_mean(name, names)}")
            if asked.count(name) > 1:
                raise DataError(f"{self.path}: column {name!r} is asked for twice")

    def _is_used(self, name: str) -> bool:
        """Whether the spec has a use for a column: it has, unless it lists both kinds without it."""
        listed = None if self.numeric is None or self.categorical is None else (*self.numeric, *self.categorical)
        return listed is None or name in listed or name == self.condition

    def _without_missing(self, names: list[str], rows: list[tuple[int, list[str]]]) -> list[tuple[int, list[str]]]:
        kept = []
        for line, row in rows:
            holes = [name for name, cell in zip(names, row, strict=True) if not cell and self._is_used(name)]
            if self.condition in holes and self.missing != "drop":
                raise DataError(f"{self.path}:{line}: column {self.condition!r} has no label; use missing: drop")
            if holes and self.missing == "error":
                raise DataError(f"{self.path}:{line}: column {holes[0]!r} is empty; set missing to drop or mean")
            if not holes or self.missing == "mean":
                kept.append((line, row))
        if not kept:
            raise DataError(f"{self.path}: every row has an empty cell")
        return kept

    @cached_property
    def _parts(self) -> dict[str, np.ndarray]:
        return split_indices(len(self._table[1]), self.fractions, self.split_seed, self.path)

    @cached_property
    def _encoded(self) -> tuple[np.ndarray, np.ndarray | None, tuple[str, ...]]:
        """``x`` ``[n, D]``, labels ``[n]``, and the names of classes."""
        names, rows = self._table
        blocks = []
        for column, name in enumerate(names):
            cells = [row[column] for _, row in rows]
            if name == self.condition or not self._is_used(name):
                continue
            if self._is_numeric(name, cells):
                blocks.append(self._standardised(name, cells))
            elif self.categorical is None or name in self.categorical:
                blocks.append(_one_hot(cells, sorted(set(cells))))
        if not blocks:
            raise DataError(f"{self.path}: no columns are left to model")
        x = np.concatenate(blocks, 1).astype(np.float32)
        if self.condition is None:
            return x, None, ()
        cells = [row[names.index(self.condition)] for _, row in rows]
        classes = sorted(set(cells))
        return x, np.array([classes.index(cell) for cell in cells], np.int64), tuple(classes)

    def _is_numeric(self, name: str, cells: Sequence[str]) -> bool:
        if self.numeric is not None:
            return name in self.numeric
        return name not in (self.categorical or ()) and all(not cell or is_number(cell) for cell in cells)

    def _standardised(self, name: str, cells: Sequence[str]) -> np.ndarray:
        values = np.full(len(cells), math.nan)
        for i, cell in enumerate(cells):
            if cell and not (is_number(cell) and math.isfinite(float(cell))):
                raise DataError(f"{self.path}:{self._table[1][i][0]}: column {name!r}: {cell!r} is not a finite number")
            if cell:
                values[i] = float(cell)
        train = values[self._parts["train"]]
        if np.isnan(train).all():
            raise DataError(f"{self.path}: column {name!r} has no number in the training split")
        mean, scale = np.nanmean(train), np.nanstd(train)
        values = np.where(np.isnan(values), mean, values)
        return ((values - mean) / (scale if scale > 0 else 1.0))[:, None]


def _is_missing(cell: str) -> bool:
    return cell.strip().lower() in _MISSING


def is_number(cell: str) -> bool:
    """Whether a cell of a csv file reads as a number, NaN and infinity among them."""
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _one_hot(cells: Sequence[str], values: Sequence[str]) -> np.ndarray:
    place = {value: i for i, value in enumerate(values)}
    return np.eye(len(values))[[place[cell] for cell in cells]]
