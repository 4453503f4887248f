"""Sequences of different lengths as one split: padded, masked, batched by length, cut to what a batch needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

import vaezoo

_MIX = 0.2  # how far lengths are shaken before they are sorted, so that batches differ between epochs


def ragged_split(
    sequences: Sequence[np.ndarray],
    steps: int,
    transform: Callable[[Tensor], Tensor],
    condition: Tensor | None = None,
) -> vaezoo.Split:
    """Sequences ``[T_i, ...]`` of one dtype, padded with 0 to ``steps``; a batch is cut to its longest.

    Args:
        sequences: at least one step each.
        steps: as many as the longest of any split has.
        transform: from a batch of padded sequences to model input.
        condition: ``[n, ...]``, or None.
    """
    counts = torch.tensor([len(sequence) for sequence in sequences])
    x = np.zeros((len(sequences), steps, *sequences[0].shape[1:]), sequences[0].dtype)
    for row, sequence in zip(x, sequences, strict=True):
        row[: len(sequence)] = sequence
    mask = torch.arange(steps) < counts[:, None]

    def order(epoch: int, seed: int, batch_size: int) -> Tensor:
        return by_length(counts, seed, batch_size)

    return vaezoo.Split(torch.from_numpy(x), condition, mask, transform, batch_transform=cut, epoch_order=order)


def cut(batch: vaezoo.Batch) -> vaezoo.Batch:
    """The batch without the steps that none of its sequences has."""
    assert batch.mask is not None
    steps = _longest(batch.mask)
    return replace(batch, x=batch.x[:, :steps], mask=batch.mask[:, :steps])


def _longest(mask: Tensor) -> int:
    """The last step that is observed in any sequence, counted from 1; at least 1."""
    found = mask.any(0).nonzero()
    return int(found.max()) + 1 if len(found) else 1


def by_length(counts: Tensor, seed: int, batch_size: int) -> Tensor:
    """An order in which each batch holds sequences of like length, and batches come in no order of length.

    Those that fill no batch are drawn at random, and come last.
    """
    generator = torch.Generator().manual_seed(seed)
    mixed = torch.randperm(len(counts), generator=generator)
    full = len(counts) - len(counts) % batch_size
    whole, rest = mixed[:full], mixed[full:]
    shaken = counts[whole] * (1 + _MIX * (torch.rand(full, generator=generator) - 0.5))
    batches = whole[shaken.argsort()].view(-1, batch_size)
    return torch.cat([batches[torch.randperm(len(batches), generator=generator)].flatten(), rest])
