"""Splits of sequences with different lengths: padding, masks, batches of similar length."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

import vaezoo
from vaezoo_vrae.steps import select_steps

_LENGTH_JITTER = 0.2
"""Relative range of the noise on lengths before sorting, so that batches differ between epochs."""


def ragged_split(
    sequences: Sequence[np.ndarray],
    steps: int,
    transform: Callable[[Tensor], Tensor],
    condition: Tensor | None = None,
) -> vaezoo.Split:
    """A split of sequences ``[T_i, ...]``, padded with 0; batches are trimmed to their longest.

    Args:
        sequences: arrays of the same dtype with at least one step each.
        steps: the padded length: that of the longest sequence in any split.
        transform: from a batch of padded sequences to model input.
        condition: ``[n, ...]``, or None.
    """
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    x = np.zeros((len(sequences), steps, *sequences[0].shape[1:]), sequences[0].dtype)
    for row, sequence in zip(x, sequences, strict=True):
        row[: len(sequence)] = sequence
    mask = torch.arange(steps) < lengths[:, None]

    def epoch_order(epoch: int, seed: int, batch_size: int) -> Tensor:
        return order_by_length(lengths, seed, batch_size)

    return vaezoo.Split(
        torch.from_numpy(x),
        condition,
        mask,
        transform,
        batch_transform=trim_padding,
        epoch_order=epoch_order,
    )


def trim_padding(batch: vaezoo.Batch) -> vaezoo.Batch:
    """The batch without trailing steps that are padding in all of its sequences."""
    assert batch.mask is not None
    steps = _longest(batch.mask)
    return select_steps(batch, slice(steps))


def _longest(mask: Tensor) -> int:
    """The length up to the last step that is observed in any sequence; at least 1."""
    observed = mask.any(0).nonzero()
    return int(observed.max()) + 1 if len(observed) else 1


def order_by_length(lengths: Tensor, seed: int, batch_size: int) -> Tensor:
    """A random order of the sequences in which each batch has similar lengths, ``[n]``.

    The batches are in random order. The sequences that do not fill a batch are chosen at random,
    and come last.
    """
    generator = torch.Generator().manual_seed(seed)
    shuffled = torch.randperm(len(lengths), generator=generator)
    full = len(lengths) - len(lengths) % batch_size
    batched, remaining = shuffled[:full], shuffled[full:]
    jittered = lengths[batched] * (
        1 + _LENGTH_JITTER * (torch.rand(full, generator=generator) - 0.5)
    )
    batches = batched[jittered.argsort()].view(-1, batch_size)  # [batches, batch_size]
    order = torch.randperm(len(batches), generator=generator)
    return torch.cat([batches[order].flatten(), remaining])  # [n]
