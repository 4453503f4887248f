"""The state of a chain of latents, and what is drawn at one of its steps.

Shapes: N elements (samples times examples), F features per step, D latent dimensions of a level, H
units of its hidden state, W dimensions of the sequence code, U parent dimensions of a level (the
sequence code and the latents of all higher levels).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from torch import Tensor

from vaezoo.distributions import DiagonalNormal

LatentSampler: TypeAlias = Callable[[int, Tensor], Tensor]
"""From a level's index, and its hidden state and parent latents ``[N, H + U]``, to z."""

StepSample: TypeAlias = tuple[Tensor, DiagonalNormal, Tensor]
"""One level at one step: hidden state and parent latents ``[N, H + U]``, q, and z ``[N, D]``."""


@dataclass
class ChainState:
    """The state of a chain between two steps.

    Attributes:
        sequence_code: what conditions every step: z of the sequence and context, ``[N, W]``.
        hidden_states: of each level, ``[N, H]``.
        latents: the current z of each level, ``[N, D]``.
        parent_latents: for each level, its parents and its own z, concatenated, ``[N, U + D]``.
        pending_inputs: features ``[N, steps, F]`` that slow levels have not yet processed.
        previous_features: features of the previous step, ``[N, F]``; None before the first.
        step: number of completed steps.
    """

    sequence_code: Tensor
    hidden_states: list[Tensor]
    latents: list[Tensor]
    parent_latents: list[Tensor] = field(default_factory=list)
    pending_inputs: Tensor | None = None
    previous_features: Tensor | None = None
    step: int = 0

    def select(self, index: Tensor) -> None:
        """Replaces the elements by those at ``index`` ``[N]``, which may repeat."""
        self.sequence_code = self.sequence_code[index]
        self.hidden_states = [hidden_state[index] for hidden_state in self.hidden_states]
        self.latents = [z[index] for z in self.latents]
