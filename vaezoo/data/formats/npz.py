"""Reads and writes examples as npz files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from vaezoo.data.batch import Batch, pad_sequences
from vaezoo.data.datasets.npz import read_npz
from vaezoo.data.format import Format
from vaezoo.utils.errors import DataError


class NpzFormat(Format):
    """The arrays ``x``, ``condition`` and ``mask``.

    When read, ``x`` may also hold sequences one after another, with their ``lengths``.
    """

    def write(self, path: Path, examples: Batch, columns: int) -> None:
        """Writes ``x`` ``[n, *shape]``, and ``condition`` and ``mask`` if they are not None."""
        arrays = {
            name: value.numpy() for name, value in vars(examples).items() if value is not None
        }
        with open(path, "wb") as file:
            np.savez_compressed(file, **arrays)

    def read(self, path: Path) -> Batch:
        """Reads the arrays as tensors of the dtypes in the file."""
        arrays = {name: torch.as_tensor(array) for name, array in read_npz(path).items()}
        x, condition, lengths = arrays["x"], arrays.get("condition"), arrays.get("lengths")
        if lengths is None:
            return Batch(x, condition, arrays.get("mask"))
        if int(lengths.sum()) != len(x) or not len(lengths):
            raise DataError(f"{path}: lengths do not add up to the {len(x)} steps of x")
        return replace(pad_sequences(list(x.split(lengths.tolist()))), condition=condition)
