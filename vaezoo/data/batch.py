"""A batch of examples."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from vaezoo.data.mapping import first_tensor, map_tensors
from vaezoo.nn import masked


@dataclass(frozen=True)
class Batch:
    """A batch of B examples.

    Attributes:
        x: data, ``[B, *shape]``; for data of several parts, a mapping from the name of each part
            to its data. Only components that are made for parts are passed such a mapping.
        condition: the condition of each example (a label ``[B]``, a vector ``[B, C]``, ...), or
            None.
        mask: True where ``x`` is observed, ``[B, *leading dimensions of shape]``; None if all of
            ``x`` is observed; for data of several parts, a mapping with the masks of those that
            have one.
        extras: what comes with the examples by name, ``[B, ...]``, such as weights; the likelihood
            is passed it.
        index: the place of each example in its split, int64 ``[B]``; None for other examples.
        present: for each part that examples may lack, True where it is there, bool ``[B]``; None
            if no part is missing. What the data of a missing part holds has no influence.
        weight: how much each example counts in the training loss, ``[B]``, with a mean of 1 over
            an epoch; None for equally.
    """

    x: Any
    condition: Tensor | None = None
    mask: Any = None
    _: KW_ONLY
    extras: Mapping[str, Tensor] = field(default_factory=dict)
    index: Tensor | None = None
    present: Mapping[str, Tensor] | None = None
    weight: Tensor | None = None

    def __len__(self) -> int:
        # written out, because it is called several times in a training step
        x = self.x if isinstance(self.x, Tensor) else first_tensor(self.x)
        return x.shape[0]

    @property
    def device(self) -> torch.device:
        """The device of the data."""
        return first_tensor(self.x).device

    def select(self, rows: slice | Tensor) -> Batch:
        """The examples of some rows, with all that belongs to them.

        Args:
            rows: a slice, or a tensor of indices ``[n]`` or of booleans ``[B]``.
        """
        return self.map(lambda value: value[rows])

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Batch:
        """The batch on a device."""
        return self.map(lambda value: value.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Batch:
        """The batch in page-locked memory; torch's ``DataLoader`` calls it."""
        return self.map(lambda value: value.pin_memory())

    def map(self, function: Callable[[Tensor], Any]) -> Batch:
        """Applies a function to every tensor of the batch."""
        return Batch(
            map_tensors(function, self.x),
            map_tensors(function, self.condition),
            map_tensors(function, self.mask),
            extras=map_tensors(function, self.extras),
            index=map_tensors(function, self.index),
            present=map_tensors(function, self.present),
            weight=map_tensors(function, self.weight),
        )

    def part(self, name: str) -> Batch:
        """One part of data of several parts, with the rest of the batch."""
        mask, present = None if self.mask is None else self.mask.get(name), self.has(name)
        return replace(
            self, x=self.x[name], mask=mask, present=None if present is None else {name: present}
        )

    def only(self, *names: str) -> Batch:
        """The examples as if only some of their parts were present.

        Args:
            names: the parts.

        Raises:
            ValueError: there is no part of a name, or there are no parts.
        """
        if not isinstance(self.x, Mapping):
            raise ValueError("these examples have no parts")
        if unknown := {*names} - {*self.x}:
            raise ValueError(f"no part named {min(unknown)!r}; the parts are {', '.join(self.x)}")
        missing = torch.zeros(len(self), dtype=torch.bool, device=self.device)
        present = {name: missing for name in self.x if name not in names}
        return replace(self, present={**(self.present or {}), **present})

    def has(self, name: str) -> Tensor | None:
        """Which examples have a part, bool ``[B]``; None if all have it."""
        return None if self.present is None else self.present.get(name)

    @property
    def step_mask(self) -> Tensor | None:
        """Where a step of a sequence has an observed value, ``[B, T]``; None if all have.

        A mask of sequences covers their steps ``[B, T]`` or their cells ``[B, T, D]``.
        """
        if self.mask is None or self.mask.dim() == 2:
            return self.mask
        return self.mask.any(-1)

    def sequences(self) -> list[Tensor]:
        """Returns each sequence without its masked steps, ``[T_i, D]``.

        With a mask of cells it ends at the last step that has a value; steps before are kept.
        """
        if self.mask is None:
            return list(self.x)
        if self.mask.dim() == 2:
            return [x[mask] for x, mask in zip(self.x, self.mask, strict=True)]
        steps = torch.arange(1, self.mask.shape[1] + 1, device=self.device)
        lengths = (self.mask.any(-1) * steps).amax(1)  # [B]
        return [x[:length] for x, length in zip(self.x, lengths.tolist(), strict=True)]


def hide_missing(batch: Batch) -> Any:
    """``Batch.x`` of several parts, with zeros where a part is missing."""
    return {name: masked(x, batch.has(name)) for name, x in batch.x.items()}


def pad_sequences(sequences: list[Tensor]) -> Batch:
    """Pads B sequences ``[T_i, D]`` with zeros to one batch ``[B, T, D]``.

    Returns:
        The batch, with a mask ``[B, T]`` if the lengths differ.
    """
    x = torch.nn.utils.rnn.pad_sequence(sequences, batch_first=True)
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    mask = torch.arange(x.shape[1]) < lengths[:, None]
    return Batch(x, None, None if bool(mask.all()) else mask)
