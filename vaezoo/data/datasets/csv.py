"""A data set from a csv file with numeric and categorical columns, and an optional class label."""

from __future__ import annotations

import csv
from functools import cached_property
from pathlib import Path
from typing import Annotated

from annotated_types import Len

from vaezoo.data.dataset import Dataset, Split
from vaezoo.data.dataspec import DataSpec
from vaezoo.data.splits import Fractions
from vaezoo.data.table import Missing, Row, TableDataset
from vaezoo.utils.errors import DataError
from vaezoo.utils.paths import find_data


class CsvDataset(Dataset):
    """A csv file with one example per row. Numbers are standardised, categories are one-hot.

    ``x`` holds the columns in the order of the file. A number is standardised with the mean and
    the standard deviation of the training split: (value - mean) / standard deviation. The
    likelihoods of a model are those of standardised numbers; files of samples are in the units of
    the source.

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
        missing: Missing = "error",
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
        return self._table.spec

    def split(self, name: str) -> Split:
        """Returns one of the three splits."""
        return self._table.split(name)

    @cached_property
    def _table(self) -> TableDataset:
        file = find_data(self.path)
        rows = self._read_rows(file)
        header = rows.pop(0)[1] if self.header else [str(i) for i in range(len(rows[0][1]))]
        for line, row in rows:
            if len(row) != len(header):
                raise DataError(f"{file}:{line}: has {len(row)} cells, expected {len(header)}")
        return TableDataset(
            [cell.strip() for cell in header],
            rows,
            source=self.path,
            numeric=self.numeric,
            categorical=self.categorical,
            condition=self.condition,
            missing=self.missing,
            fractions=self.fractions,
            split_seed=self.split_seed,
        )

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
