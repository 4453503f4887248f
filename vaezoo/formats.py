"""Files of examples, by their ending: what is written after sampling, and what a user hands to a model."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vaezoo.data.npz import read_npz
from vaezoo.data.table import is_number
from vaezoo.errors import DataError
from vaezoo.facts import DataSpec
from vaezoo.interfaces import Format
from vaezoo.trace import Batch


class Npz(Format):
    """The arrays ``x``, ``condition`` and ``mask``; when read, also the ``lengths`` of sequences one after another."""

    def write(self, path: Path, examples: Batch, columns: int) -> None:
        """Writes ``x`` ``[n, *shape]``, and the others where there are any."""
        arrays = {name: value.numpy() for name, value in vars(examples).items() if value is not None}
        with open(path, "wb") as opened:
            np.savez_compressed(opened, **arrays)

    def read(self, path: Path) -> Batch:
        """Reads them as tensors of the file's own types."""
        arrays = {name: torch.as_tensor(array) for name, array in read_npz(path).items()}
        x, condition, counts = arrays["x"], arrays.get("condition"), arrays.get("lengths")
        if counts is None:
            return Batch(x, condition, arrays.get("mask"))
        if int(counts.sum()) != len(x) or not len(counts):
            raise DataError(f"{path}: lengths do not add up to the {len(x)} steps of x")
        return replace(padded(list(x.split(counts.tolist()))), condition=condition)


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


def padded(parts: list[Tensor]) -> Batch:
    """Sequences ``[T_i, D]`` as one batch, with a mask where their lengths differ."""
    x = torch.nn.utils.rnn.pad_sequence(parts, batch_first=True)
    counts = torch.tensor([len(part) for part in parts])
    mask = torch.arange(x.shape[1]) < counts[:, None]
    return Batch(x, None, None if bool(mask.all()) else mask)


class Png(Format):
    """A picture: a sheet of images, or piano-rolls, lines or text for sequences."""

    def __init__(self, data: DataSpec, /) -> None:
        super().__init__(data)
        from vaezoo.report.pictures import is_image

        if not (is_image(data) or data.is_sequence):
            raise ValueError(f"examples of shape {data.shape} are no images; use .npz or .csv")

    def write(self, path: Path, examples: Batch, columns: int) -> None:
        """Draws ``x`` ``[n, *shape]``; sequences with their class, if they have one."""
        from vaezoo.report import pictures, sequences

        if pictures.is_image(self.data):
            path.write_bytes(pictures.grid(examples.x, columns, pictures.zoom_for(examples.x, columns)))
        else:
            path.write_bytes(sequences.picture(self.data, examples))
