"""Encoders made of other encoders."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import vaezoo


class Parallel(vaezoo.Encoder):
    """Several encoders side by side; the last feature of each is flattened and concatenated.

    Args:
        branches: the encoders by name.
    """

    def __init__(
        self,
        wiring: vaezoo.EncoderWiring,
        /,
        *,
        branches: dict[str, vaezoo.Factory[vaezoo.Encoder]],
    ) -> None:
        super().__init__()
        self.branches = nn.ModuleDict({name: make(wiring) for name, make in branches.items()})

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, ...]:
        """From ``[B, *in_shape]`` to one feature ``[B, F]``."""
        features = [branch(x, mask)[-1].flatten(1) for branch in self.branches.values()]
        return (torch.cat(features, 1),)


class Ensemble(vaezoo.Encoder):
    """Encoders with features of one shape, which are averaged.

    Args:
        members: the encoders.
    """

    def __init__(
        self, wiring: vaezoo.EncoderWiring, /, *, members: list[vaezoo.Factory[vaezoo.Encoder]]
    ) -> None:
        super().__init__()
        self.members = nn.ModuleList(make(wiring) for make in members)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, ...]:
        """From ``[B, *in_shape]`` to one feature ``[B, ...]``."""
        return (torch.stack([member(x, mask)[-1] for member in self.members]).mean(0),)
