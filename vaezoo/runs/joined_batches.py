"""Batches of several files as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from vaezoo.data.batch import Batch
from vaezoo.data.hiding import NO_LABEL
from vaezoo.data.mapping import map_tensors


def concatenate(batches: Sequence[Batch]) -> Batch:
    """One batch of several; sequences are padded to the longest, labels that some lack are -1."""
    if len(batches) == 1:
        return batches[0]
    batches = _with_conditions(batches)
    first = batches[0]
    if isinstance(first.x, torch.Tensor) and first.mask is not None:
        steps = max(batch.x.shape[1] for batch in batches)
        batches = [_padded(batch, steps) for batch in batches]

    def join(values: Sequence[Any]) -> Any:
        if values[0] is None:
            return None
        if isinstance(values[0], Mapping):
            return {name: join([value[name] for value in values]) for name in values[0]}
        return torch.cat(list(values))

    return Batch(
        join([batch.x for batch in batches]),
        join([batch.condition for batch in batches]),
        join([batch.mask for batch in batches]),
        extras=join([batch.extras for batch in batches]),
        present=join([_all_present(batch) for batch in batches]),
    )


def _with_conditions(batches: Sequence[Batch]) -> Sequence[Batch]:
    """Batches that all have conditions or none: a label that a file lacks is not known."""
    given = [batch.condition for batch in batches if batch.condition is not None]
    if len(given) in (0, len(batches)):
        return batches
    are_labels = given[0].dim() == 1

    def complete(batch: Batch) -> Batch:
        if batch.condition is not None and are_labels:
            return batch
        unknown = torch.full((len(batch),), NO_LABEL, device=batch.device)
        return replace(batch, condition=unknown if are_labels else None)

    return [complete(batch) for batch in batches]


def _all_present(batch: Batch) -> dict[str, torch.Tensor] | None:
    """Which examples have each part; None without parts."""
    if not isinstance(batch.x, Mapping):
        return None
    everyone = torch.ones(len(batch), dtype=torch.bool, device=batch.device)
    return {name: (batch.present or {}).get(name, everyone) for name in batch.x}


def _padded(batch: Batch, steps: int) -> Batch:
    """A batch of sequences with more steps, which its mask hides."""
    missing = steps - batch.x.shape[1]

    def pad(values: torch.Tensor) -> torch.Tensor:
        return torch.cat([values, values.new_zeros(len(values), missing, *values.shape[2:])], 1)

    return replace(batch, x=map_tensors(pad, batch.x), mask=map_tensors(pad, batch.mask))
