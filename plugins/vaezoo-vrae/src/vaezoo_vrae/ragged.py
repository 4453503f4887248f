"""Sequences of different lengths: padding, masks, batches of similar length.

Shapes: n sequences, T steps, D values per step; ``...`` is the shape of one step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

import vaezoo
from vaezoo_vrae.steps import select_steps

_LENGTH_JITTER = 0.2
"""Relative range of the noise on lengths before sorting, so that batches differ between epochs."""


@dataclass(frozen=True)
class Origin:
    """Where a sequence comes from: the name of its file, and its first step there, from 0."""

    file: str
    start: int = 0

    def shifted(self, steps: int) -> Origin:
        """The origin of the part that starts some steps later."""
        return Origin(self.file, self.start + steps)


@dataclass(frozen=True)
class RaggedSequences:
    """Sequences of different lengths, with or without labels.

    Attributes:
        sequences: ``[T_i, ...]`` each; 0, or NaN for cells, where they are not observed.
        labels: the label of each sequence, counted from 0; None without labels.
        classes: the names of the labels.
        observed: which steps of each sequence are observed, bool ``[T_i]``, or which of its cells,
            ``[T_i, D]``; None if all are.
        origins: where each sequence comes from; None if not from files of one sequence each.
    """

    sequences: list[np.ndarray]
    labels: np.ndarray | None = None
    classes: tuple[str, ...] = ()
    observed: list[np.ndarray] | None = None
    origins: list[Origin] | None = None

    def select(self, index: Sequence[int] | np.ndarray) -> RaggedSequences:
        """The sequences at these indices, with all that belongs to them."""
        return RaggedSequences(
            [self.sequences[i] for i in index],
            None if self.labels is None else self.labels[index],
            self.classes,
            None if self.observed is None else [self.observed[i] for i in index],
            None if self.origins is None else [self.origins[i] for i in index],
        )

    def without_hidden(self) -> RaggedSequences:
        """The sequences that have an observed step."""
        steps = [
            len(sequence) if self.observed is None else self.observed[i].any()
            for i, sequence in enumerate(self.sequences)
        ]
        return self.select([i for i, shown in enumerate(steps) if shown])

    def observed_steps(self) -> np.ndarray:
        """The observed steps of all sequences, ``[steps, ...]``; hidden cells are NaN."""
        steps = np.concatenate(self.sequences)
        shown = np.concatenate(self.observed) if self.observed is not None else np.array(True)
        if shown.all():
            return steps
        return np.where(shown, steps, np.nan) if shown.ndim == steps.ndim else steps[shown]


def ragged_split(
    data: RaggedSequences, steps: int, transform: Callable[[Tensor], Tensor]
) -> vaezoo.Split:
    """A split of sequences, padded with 0; batches are trimmed to their longest.

    Sequences of files are named by their file and, if they are parts of it, their first step.

    Args:
        data: sequences of the same dtype with at least one step each; labels are the condition.
        steps: the padded length: that of the longest sequence in any split.
        transform: from a batch of padded sequences to model input.

    Raises:
        vaezoo.DataError: the padded sequences do not fit in memory.
    """
    sequences = data.sequences
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    shape, dtype = (len(sequences), steps, *sequences[0].shape[1:]), sequences[0].dtype
    vaezoo.check_memory(
        math.prod(shape) * dtype.itemsize + len(sequences) * steps,
        f"{len(sequences):,} sequences, padded to the {steps:,} steps of the longest,",
        "remove the longest, or cut them as the option window does",
    )
    x, mask = np.zeros(shape, dtype), torch.arange(steps) < lengths[:, None]
    for row, sequence in zip(x, sequences, strict=True):
        row[: len(sequence)] = sequence
    if data.observed is not None:
        if data.observed[0].ndim == len(shape) - 1:  # of cells
            mask = mask[..., None].repeat(1, 1, shape[-1])
        for row, observed in zip(mask.numpy(), data.observed, strict=True):
            row[: len(observed)] = observed

    def epoch_order(epoch: int, seed: int, batch_size: int) -> Tensor:
        return order_by_length(lengths, seed, batch_size)

    return vaezoo.Split(
        torch.from_numpy(x),
        None if data.labels is None else torch.from_numpy(data.labels),
        mask,
        transform,
        names=_names(data.origins),
        batch_transform=trim_padding,
        epoch_order=epoch_order,
    )


def _names(origins: Sequence[Origin] | None) -> dict[str, list[str] | list[int]]:
    """What names sequences, by column."""
    if origins is None:
        return {}
    files, starts = [origin.file for origin in origins], [origin.start for origin in origins]
    return {"file": files, "start": starts} if any(starts) else {"file": files}


def trim_padding(batch: vaezoo.Batch) -> vaezoo.Batch:
    """The batch without trailing steps that are padding in all of its sequences."""
    assert batch.step_mask is not None
    steps = _longest(batch.step_mask)
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
