"""A data set from a csv file with numeric and categorical columns, and an optional class label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated

from annotated_types import Len

from vaezoo.data.cells import is_number
from vaezoo.data.csv_file import guess_delimiter, read_rows
from vaezoo.data.dataset import Dataset, Split
from vaezoo.data.dataspec import DataSpec
from vaezoo.data.splits import Fractions
from vaezoo.data.table import Missing, TableDataset
from vaezoo.utils.errors import DataError
from vaezoo.utils.paths import find_data


class CsvDataset(Dataset):
    """A csv file with one example per row. Numbers are standardised, categories are one-hot.

    ``x`` holds the columns in the order of the file. A number is standardised with the mean and
    the standard deviation of the training split: (value - mean) / standard deviation; a column
    that is constant there keeps its scale. The likelihoods of a model are those of standardised
    numbers; files of samples are in the units of the source. Numbers have a decimal point and no
    other signs.

    Args:
        path: the file; a relative path is looked up in the working directory, then in
            ``VAEZOO_DATA``.
        numeric: the numeric columns; by default every column that is not named in another option
            and contains only numbers.
        categorical: the categorical columns; by default every remaining column.
        condition: a column of class labels, which is not part of ``x``. Empty cells are unknown
            labels, unless ``missing`` is ``drop``.
        factors: columns of ground-truth factors, for scores of disentanglement, which are not part
            of ``x``. Numbers with more than 64 different values are cut into 20 bins.
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
        factors: Sequence[str] = (),
        header: bool = True,
        delimiter: Annotated[str, Len(1, 1)] = ",",
        missing: Missing = "error",
        fractions: Fractions = (0.8, 0.1, 0.1),
        split_seed: int = 0,
    ) -> None:
        self.path, self.condition, self.factors = path, condition, factors
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

    @property
    def sizes(self) -> Mapping[str, int]:
        """The number of examples of each split."""
        return self._table.sizes

    @property
    def left_out(self) -> Sequence[str]:
        """Rows and columns that are not used."""
        return self._table.left_out

    @property
    def notes(self) -> Sequence[str]:
        """Names and columns that may be meant otherwise, and values that training lacks."""
        names, notes = self._table.names, list(self._table.notes)
        if self.header and all(map(is_number, names)):
            first = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
            reason = "which names the columns; if it is data, set header: false"
            notes.insert(0, f"the first row ({first}), {reason}")
        return notes

    @cached_property
    def _table(self) -> TableDataset:
        file = find_data(self.path)
        rows = read_rows(file, self.delimiter)
        if len(rows) <= self.header:
            raise DataError(f"{file}: has no rows")
        line, first = rows[0]
        self._check_delimiter(file, first)
        header = [cell.strip() for cell in first]
        if not self.header:
            header = [str(i) for i in range(len(first))]
        elif all(map(is_number, header)) and any("." in cell for cell in header):
            raise DataError(f"{file}:{line}: has numbers as names of columns; set header: false")
        rows = rows[self.header :]
        for line, row in rows:
            if len(row) != len(header):
                hint = f"; put cells with {self.delimiter!r} in quotes"
                raise DataError(
                    f"{file}:{line}: has {len(row)} cells, expected {len(header)}"
                    f"{hint if len(row) > len(header) else ''}"
                )
        return TableDataset(
            header,
            rows,
            source=str(file),
            numeric=self.numeric,
            categorical=self.categorical,
            condition=self.condition,
            factors=self.factors,
            missing=self.missing,
            fractions=self.fractions,
            split_seed=self.split_seed,
        )

    def _check_delimiter(self, file: Path, first: Sequence[str]) -> None:
        """Raises DataError if the only column of the first row would be several with another."""
        other = guess_delimiter(first[0])
        if len(first) == 1 and self.delimiter not in first[0] and other in first[0]:
            raise DataError(
                f"{file}: has one column, {first[0]!r}; set data.delimiter to {other!r}"
            )
