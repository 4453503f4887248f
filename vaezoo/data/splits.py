"""Divides examples into train, validation and test for data sets without splits of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, TypeAlias

import numpy as np
from annotated_types import Gt, Len

from vaezoo.utils.errors import DataError

SPLIT_NAMES = ("train", "validation", "test")

Fractions: TypeAlias = Annotated[Sequence[Annotated[float, Gt(0)]], Len(3, 3)]
"""The shares of train, validation and test; they need not sum to 1."""


def split_indices(
    count: int, fractions: Sequence[float], seed: int, source: str
) -> dict[str, np.ndarray]:
    """Divides examples at random.

    Args:
        count: the number of examples.
        fractions: the shares of train, validation and test.
        seed: decides which example belongs to which split.
        source: names the data in error messages.

    Returns:
        For each split, the sorted indices of its examples.

    Raises:
        DataError: there are too few examples for three splits.
    """
    ends = np.round(np.cumsum(fractions) / np.sum(fractions) * count).astype(int)
    order = np.random.default_rng(seed).permutation(count)
    parts = np.split(order, ends[:-1])
    if min(len(part) for part in parts) == 0:
        raise DataError(
            f"{source}: {count} examples are too few to divide into train, validation and test"
        )
    return {name: np.sort(part) for name, part in zip(SPLIT_NAMES, parts, strict=True)}
