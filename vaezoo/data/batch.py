"""A batch of examples."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """A batch of examples.

    Attributes:
        x: data, ``[B, *shape]``.
        condition: what the example is conditioned on (a label ``[B]``, a vector ``[B, C]``, ...), or None.
        mask: True where ``x`` is observed, ``[B, *leading dimensions of shape]``; None means everywhere.
    """

    x: Tensor
    condition: Tensor | None = None
    mask: Tensor | None = None

    def __len__(self) -> int:
        return self.x.shape[0]

    def part(self, start: int, stop: int) -> Batch:
        """The examples from ``start`` up to ``stop``."""
        condition = None if self.condition is None else self.condition[start:stop]
        return Batch(self.x[start:stop], condition, None if self.mask is None else self.mask[start:stop])

    def sequences(self) -> list[Tensor]:
        """Each example without the steps that its mask hides, ``[T_i, D]``."""
        return list(self.x) if self.mask is None else [x[mask] for x, mask in zip(self.x, self.mask, strict=True)]


def padded(parts: list[Tensor]) -> Batch:
    """Sequences ``[T_i, D]`` as one batch, with a mask where their lengths differ."""
    x = torch.nn.utils.rnn.pad_sequence(parts, batch_first=True)
    counts = torch.tensor([len(part) for part in parts])
    mask = torch.arange(x.shape[1]) < counts[:, None]
    return Batch(x, None, None if bool(mask.all()) else mask)
