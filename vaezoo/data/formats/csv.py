"""Reads and writes examples as csv files."""

from __future__ import annotations

import csv
from pathlib import Path

import torch

from vaezoo.data.batch import Batch, pad_sequences
from vaezoo.data.dataspec import DataSpec
from vaezoo.data.format import Format
from vaezoo.data.table import is_number
from vaezoo.utils.errors import DataError


class CsvFormat(Format):
    """Numbers, with a row for each example, or for each step of a sequence.

    A row starts with the number of the example and, in a sequence, the number of the step. When
    read, a file may also contain the rows of numbers alone, with or without a header; for
    sequences, they are the steps of a single sequence.
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
        """Reads vectors or sequences; pads sequences of different lengths and adds a mask."""
        with open(path, newline="", encoding="utf-8") as file:
            lines = [(number, row) for number, row in enumerate(csv.reader(file), 1) if row]
        header = lines[0][1] if lines else []
        has_index = header[: len(self.index_columns)] == self.index_columns
        has_header = has_index or (bool(header) and not any(map(is_number, header)))
        rows = [
            _parse_numbers(path, number, row)
            for number, row in (lines[1:] if has_header else lines)
        ]
        if not rows or len({len(row) for row in rows}) != 1:
            raise DataError(f"{path}: expected rows of numbers, all of the same length")
        table = torch.tensor(rows, dtype=torch.float32)
        if not self.data.is_sequence:
            return Batch(table[:, 1:] if has_index else table)
        if not has_index:
            return Batch(table[None])
        return pad_sequences(
            [table[table[:, 0] == example, 2:] for example in table[:, 0].unique()]
        )


def _parse_numbers(path: Path, number: int, row: list[str]) -> list[float]:
    try:
        return [float(cell) for cell in row]
    except ValueError as error:
        raise DataError(f"{path}: row {number}: {error}") from error
