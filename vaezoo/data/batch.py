"""A batch of examples."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """A batch of B examples.

    Attributes:
        x: data, ``[B, *shape]``.
        condition: the condition of each example (a label ``[B]``, a vector ``[B, C]``, ...), or
            None.
        mask: True where ``x`` is observed, ``[B, *leading dimensions of shape]``; None if all of
            ``x`` is observed.
    """

    x: Tensor
    condition: Tensor | None = None
    mask: Tensor | None = None

    def __len__(self) -> int:
        return self.x.shape[0]

    def part(self, start: int, stop: int) -> Batch:
        """Returns the examples from index ``start`` up to, but not including, ``stop``."""
        condition = None if self.condition is None else self.condition[start:stop]
        mask = None if self.mask is None else self.mask[start:stop]
        return Batch(self.x[start:stop], condition, mask)

    def sequences(self) -> list[Tensor]:
        """Returns each sequence without its masked steps, ``[T_i, D]``."""
        if self.mask is None:
            return list(self.x)
        return [x[mask] for x, mask in zip(self.x, self.mask, strict=True)]


def pad_sequences(sequences: list[Tensor]) -> Batch:
    """Pads B sequences ``[T_i, D]`` with zeros to one batch ``[B, T, D]``.

    Returns:
        The batch, with a mask ``[B, T]`` if the lengths differ.
    """
    x = torch.nn.utils.rnn.pad_sequence(sequences, batch_first=True)
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    mask = torch.arange(x.shape[1]) < lengths[:, None]
    return Batch(x, None, None if bool(mask.all()) else mask)
