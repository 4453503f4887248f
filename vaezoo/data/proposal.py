"""A spec that a data set proposes for a user's own files, with the reason of each choice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """What was found in the files, and a spec for them.

    Attributes:
        found: what was found, a line each.
        spec: the blocks of the spec: ``data``, ``model``, ``train``, ``evaluate``.
        reasons: why a value was chosen, by its path, such as ``model.latent_dim``.
    """

    found: Sequence[str]
    spec: Mapping[str, Any]
    reasons: Mapping[str, str]


def training_length(examples: int, steps: int) -> tuple[int, int, str]:
    """Batch size and epochs for about a number of steps, and why.

    Args:
        examples: the number of training examples.
        steps: the number of steps to aim at.
    """
    batch_size = 32 if examples < 1000 else 128 if examples < 20_000 else 256
    batches = max(1, -(-examples // batch_size))
    epochs = max(5, min(500, round(steps / batches)))
    return batch_size, epochs, f"{epochs * batches:,} steps of {batch_size} examples"
