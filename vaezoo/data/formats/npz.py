"""Reads and writes examples as npz files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vaezoo.data.array_checks import check_parts
from vaezoo.data.batch import Batch, pad_sequences
from vaezoo.data.datasets.npz import read_npz, to_arrays, to_named
from vaezoo.data.format import Format
from vaezoo.data.mapping import map_tensors
from vaezoo.utils.errors import DataError


class NpzFormat(Format):
    """The arrays ``x``, ``condition`` and ``mask``, and those of parts and extras.

    When read, ``x`` may also hold sequences one after another, with their ``lengths``.
    """

    holds_parts = True

    def write(self, path: Path, examples: Batch, columns: int) -> None:
        """Writes what the examples have of ``x``, ``condition``, ``mask``, parts and extras."""
        arrays = to_named(examples.map(Tensor.numpy))
        with open(path, "wb") as file:
            np.savez_compressed(file, **arrays)

    def read(self, path: Path) -> Batch:
        """Reads the arrays as tensors of the dtypes in the file."""
        arrays = read_npz(path)
        file = to_arrays(arrays)
        check_parts(file.x, file.mask, file.present, str(path))
        x, condition, mask, extras, present = (
            map_tensors(torch.as_tensor, value)
            for value in (file.x, file.condition, file.mask, file.extras, file.present)
        )
        examples = Batch(x, condition, mask, extras=extras, present=present or None)
        if "lengths" not in arrays:
            return examples
        lengths = torch.as_tensor(arrays["lengths"])
        if int(lengths.sum()) != len(x) or not len(lengths):
            raise DataError(f"{path}: lengths do not add up to the {len(x)} steps of x")
        padded = pad_sequences(list(x.split(lengths.tolist())))
        return replace(examples, x=padded.x, mask=padded.mask)
