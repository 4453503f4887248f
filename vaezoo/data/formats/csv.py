"""Examples in csv files."""

from __future__ import annotations

import csv
from pathlib import Path

import torch

from vaezoo.data.batch import Batch, padded
from vaezoo.data.datasets.csv import is_number
from vaezoo.data.dataspec import DataSpec
from vaezoo.data.format import Format
from vaezoo.utils.errors import DataError


class Csv(Format):
    """Numbers: a row for each example, or for each step of a sequence, led by the example's and the step's number.

    Sequences are also read from rows of numbers alone, which are the steps of one, below a header or not.
    """

    def __init__(self, data: DataSpec, /) -> None:
        super().__init__(data)
        if len(data.shape) > 2 or data.support == "one-hot":
            raise ValueError(f"vectors of numbers or sequences of them are wanted, not {data.shape}; use .npz")
        self.lead = ["example", "step"] if data.is_sequence else ["example"]

    def write(self, path: Path, examples: Batch, columns: int) -> None:
        """Writes ``x`` ``[n, D]`` or ``[n, T, D]``."""
        rows = examples.sequences() if self.data.is_sequence else examples.x
        with open(path, "w", newline="", encoding="utf-8") as opened:
            writer = csv.writer(opened)
            writer.writerow([*self.lead, *(f"x{i}" for i in range(examples.x.shape[-1]))])
            for i, row in enumerate(rows):
                for step, values in enumerate(row.reshape(-1, row.shape[-1]).tolist()):
                    writer.writerow([i, step][: len(self.lead)] + values)

    def read(self, path: Path) -> Batch:
        """Reads what ``write`` writes; sequences of unlike lengths with a mask."""
        with open(path, newline="", encoding="utf-8") as opened:
            rows = [(number, row) for number, row in enumerate(csv.reader(opened), 1) if row]
        header = rows[0][1] if rows else []
        led = header[: len(self.lead)] == self.lead
        titled = led or (bool(header) and not any(map(is_number, header)))
        values = [(number, _numbers(path, number, row)) for number, row in (rows[1:] if titled else rows)]
        if not values or len({len(row) for _, row in values}) != 1:
            raise DataError(f"{path}: wants rows of numbers, all of one length")
        table = torch.tensor([row for _, row in values], dtype=torch.float32)
        if not self.data.is_sequence:
            return Batch(table[:, 1:] if led else table)
        if not led:
            return Batch(table[None])
        parts = [table[table[:, 0] == index, 2:] for index in table[:, 0].unique()]
        return padded(parts)


def _numbers(path: Path, number: int, row: list[str]) -> list[float]:
    try:
        return [float(cell) for cell in row]
    except ValueError as error:
        raise DataError(f"{path}: row {number}: {error}") from error
