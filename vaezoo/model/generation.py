"""The arguments of stepwise generation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Generation:
    """The arguments of latents that generate step by step.

    The data of each step is sampled from that step's code, and its features are fed back.

    Attributes:
        steps: the number of steps to generate, without those of the prefix.
        next_features: maps the code of one step ``[n, 1, ...]`` to the features ``[n, 1, ...]`` of
            the data sampled for it.
        prefix: the features ``[n, T, ...]`` of the T steps to continue from, or None.
    """

    steps: int
    next_features: Callable[[Tensor], tuple[Tensor, ...]]
    prefix: tuple[Tensor, ...] | None = None
