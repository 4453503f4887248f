"""Files of examples, by their ending: what is written after sampling, and what a user hands to a model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from vaezoo.data.batch import Batch, padded
from vaezoo.data.datasets.npz import read_npz
from vaezoo.data.format import Format
from vaezoo.utils.errors import DataError


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
