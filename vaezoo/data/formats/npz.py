"""Reads and writes examples as npz files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vaezoo.data.array_examples import checked_arrays
from vaezoo.data.batch import Batch
from vaezoo.data.datasets.npz import to_arrays, to_named
from vaezoo.data.format import Format
from vaezoo.data.mapping import map_tensors
from vaezoo.data.npz_file import read_npz


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
        """Reads arrays as the data set ``npz`` does, as tensors of the dtypes in the file.

        ``x`` is 0 where it is hidden; there is no mask if nothing is.
        """
        data = self.data
        steps = data.shape[0] if data.is_sequence and not data.variable_length else 0
        file = checked_arrays(to_arrays(read_npz(path), str(path), steps=steps), str(path))
        has_mask = not isinstance(file.mask, np.ndarray) or not (file.mask != 0).all()
        x, condition, mask, extras, present = (
            map_tensors(torch.as_tensor, value)
            for value in (
                file.x,
                file.condition,
                file.mask if has_mask else None,
                file.extras,
                file.present,
            )
        )
        return Batch(x, condition, mask, extras=extras, present=present or None)

    def lengths(self, path: Path) -> Sequence[int] | None:
        """The array ``lengths``; None if there is none."""
        lengths = read_npz(path).get("lengths")
        return None if lengths is None else lengths.tolist()

    def read_prefixes(self, path: Path) -> Batch:
        """Reads prefixes, up to the last step that any of them has."""
        batch = self.read(path)
        if not self.data.is_sequence or batch.mask is None:
            return batch
        steps_of_any = (batch.mask != 0).any(0).nonzero()
        steps = int(steps_of_any[:, 0].max()) + 1 if len(steps_of_any) else 1
        return replace(batch, x=batch.x[:, :steps], mask=batch.mask[:, :steps])
