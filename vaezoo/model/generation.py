"""What latents need to generate step by step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Generation:
    """What latents need that generate step by step: data is drawn for each step's code, and its features come back.

    Attributes:
        steps: how many to generate, those of the prefix not counted.
        next_features: from the code of one step ``[n, 1, ...]`` to the features of the data drawn for it, ``[n, 1, ...]`` each.
        prefix: the features of steps that are given, ``[n, T, ...]`` each; None where there are none.
    """

    steps: int
    next_features: Callable[[Tensor], tuple[Tensor, ...]]
    prefix: tuple[Tensor, ...] | None = None
