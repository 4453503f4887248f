"""Reads and writes examples as csv files."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from vaezoo.data.batch import Batch, pad_sequences
from vaezoo.data.cells import is_missing, is_number, parse_number
from vaezoo.data.csv_file import Row, read_rows
from vaezoo.data.dataspec import DataSpec
from vaezoo.data.format import Format
from vaezoo.utils.errors import DataError, did_you_mean


class CsvFormat(Format):
    """Numbers, with a row for each example, or for each step of a sequence.

    A row starts with the number of the example and, in a sequence, the number of the step. When
    read, a file may also contain the rows alone: columns are found by the names of fields, in any
    order; a category is text or one-hot, and a class label is a column ``condition`` or the only
    other one with names of classes. Numbers without a header are in the order of the data. For
    sequences, rows without the number of an example are the steps of a single one.
    """

    def __init__(self, data: DataSpec, /) -> None:
        super().__init__(data)
        if len(data.shape) > 2 or data.support == "one-hot":
            raise ValueError(
                f"csv files hold vectors of numbers or sequences of them, not {data.shape}; "
                "use .npz"
            )
        self.index_columns = ["example", "step"] if data.is_sequence else ["example"]

    def write(self, path: Path, examples: Batch, columns: int) -> None:
        """Writes ``x`` ``[n, D]`` or ``[n, T, D]``."""
        entries = examples.sequences() if self.data.is_sequence else examples.x
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow([*self.index_columns, *self._column_names()])
            for i, entry in enumerate(entries):
                rows = entry.reshape(-1, entry.shape[-1])  # [T, D], or [1, D] for a vector
                for step, values in enumerate(rows.tolist()):
                    writer.writerow([i, step][: len(self.index_columns)] + values)

    def _column_names(self) -> list[str]:
        """The names of the columns of ``x``: those of fields, with the category if one-hot."""
        names = [f"x{i}" for i in range(self.data.shape[-1])]
        for field in self.data.fields:
            start, stop = field.columns
            own = [f"{field.name}[{i}]" for i in range(stop - start)]
            if field.is_one_hot:
                own = [f"{field.name}={category}" for category in field.categories]
            names[start:stop] = [field.name] if stop - start == 1 else own
        return names

    def read(self, path: Path) -> Batch:
        """Reads vectors or sequences; pads sequences of different lengths and adds a mask.

        Columns are found by the names of fields. Where the data has none, they are in its order.
        """
        table = self._read_table(path)
        if table.names and self._has_names:
            x = self._columns_by_name(table)
        else:
            is_indexed = table.names[: len(self.index_columns)] == self.index_columns
            x = table.all_numbers(len(self.index_columns) if is_indexed else 0)
        if not self.data.is_sequence:
            return Batch(x, self._condition(table))
        if not {*self.index_columns} <= {*table.names}:
            return Batch(x[None])
        example = table.numbers(self.index_columns[0])
        return pad_sequences([x[example == number] for number in example.unique()])

    def lengths(self, path: Path) -> Sequence[int] | None:
        """The number of rows of each sequence; None for vectors."""
        if not self.data.is_sequence:
            return None
        return [len(sequence) for sequence in self.read(path).sequences()]

    @property
    def _has_names(self) -> bool:
        """Whether fields have names by which columns are found, other than their numbers."""
        return not all(is_number(field.name) for field in self.data.fields)

    def _read_table(self, path: Path) -> _Table:
        """The rows of a file, and the names of its columns if the first row holds them."""
        rows = read_rows(path)
        first = [cell.strip() for cell in rows[0][1]] if rows else []
        known = {*self._column_names(), *(field.name for field in self.data.fields)}
        is_known = self._has_names and not known.isdisjoint(first)
        is_known |= first[: len(self.index_columns)] == self.index_columns  # as `write` does
        has_header = bool(rows) and (is_known or not any(map(is_number, first)))
        table = _Table(path, first if has_header else [], rows[has_header:])
        if not table.rows:
            raise DataError(f"{path}: has no rows of numbers")
        for line, row in table.rows:
            if len(row) != len(first):
                raise DataError(f"{path}:{line}: has {len(row)} cells, expected {len(first)}")
        return table

    def _columns_by_name(self, table: _Table) -> Tensor:
        """``x`` ``[rows, D]``. A field with categories has a column of text, or one-hot ones."""
        names = self._column_names()
        x = torch.zeros(len(table.rows), len(names), dtype=torch.float64)
        for field in self.data.fields:
            start, stop = field.columns
            if field.is_one_hot and field.name in table.names:
                labels = table.labels(field.name, field.categories)
                x[torch.arange(len(x)), start + labels] = 1
                names[start:stop] = [""] * (stop - start)
        for place, name in enumerate(names):
            if name:
                x[:, place] = table.numbers(name)
        return x

    def _condition(self, table: _Table) -> Tensor | None:
        """The labels ``[rows]``: ``condition``, or the only other column of names of classes."""
        classes = self.data.classes
        own = {*self._column_names(), *(field.name for field in self.data.fields)}
        others = [name for name in table.names if classes and name not in own]
        found = [name for name in others if name == "condition"] or [
            name for name in others if {*table.cells(name)} - {""} <= {*classes}
        ]
        return table.labels(found[0], classes, takes_unknown=True) if len(found) == 1 else None


@dataclass(frozen=True)
class _Table:
    """The rows of a file, with the names of the columns; without names if it has no header."""

    path: Path
    names: list[str]
    rows: list[Row]

    def cells(self, name: str) -> list[str]:
        """The cells of a column.

        Raises:
            DataError: there is no such column, or there are two.
        """
        if self.names.count(name) != 1:
            problem = "two columns" if name in self.names else "no column"
            hint = "" if name in self.names else did_you_mean(name, self.names)
            raise DataError(f"{self.path}: {problem} {name!r}{hint}")
        place = self.names.index(name)
        return [row[place].strip() for _, row in self.rows]

    def numbers(self, name: str) -> Tensor:
        """The numbers of a column, float64 ``[rows]``."""
        cells = zip(self.rows, self.cells(name), strict=True)
        numbers = [self._number(line, cell) for (line, _), cell in cells]
        return torch.tensor(numbers, dtype=torch.float64)

    def all_numbers(self, start: int) -> Tensor:
        """The numbers of all columns from one on, float64 ``[rows, columns]``."""
        numbers = [[self._number(line, cell) for cell in row[start:]] for line, row in self.rows]
        return torch.tensor(numbers, dtype=torch.float64)

    def labels(
        self, name: str, categories: Sequence[str], *, takes_unknown: bool = False
    ) -> Tensor:
        """The indices of a column's categories, int64 ``[rows]``; -1 if an empty cell may be."""
        index = {category: i for i, category in enumerate(categories)}
        labels = []
        for (line, _), cell in zip(self.rows, self.cells(name), strict=True):
            value = "" if is_missing(cell) else cell
            if not value and takes_unknown:
                labels.append(-1)
                continue
            if value not in index:
                hint = did_you_mean(value, categories)
                raise DataError(f"{self.path}:{line}: {name!r} has no value {cell!r}{hint}")
            labels.append(index[value])
        return torch.tensor(labels)

    def _number(self, line: int, cell: str) -> float:
        reason = "is not a finite number"
        try:
            number = parse_number(cell)
        except ValueError as error:
            number, reason = math.nan, str(error)
        if not math.isfinite(number):
            raise DataError(f"{self.path}:{line}: {cell!r} {reason}")
        return number
