"""Dividing examples into train, validation and test where a data set does not say how."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, TypeAlias

import numpy as np
from annotated_types import Gt, Len

from vaezoo.utils.errors import DataError

NAMES = ("train", "validation", "test")

Fractions: TypeAlias = Annotated[Sequence[Annotated[float, Gt(0)]], Len(3, 3)]
"""The shares of train, validation and test."""


def split_indices(count: int, fractions: Sequence[float], seed: int, where: str) -> dict[str, np.ndarray]:
    """A seeded partition of ``count`` examples, each part in the order of the source.

    Raises:
        DataError: there are too few examples for three parts.
    """
    ends = np.round(np.cumsum(fractions) / np.sum(fractions) * count).astype(int)
    order = np.random.default_rng(seed).permutation(count)
    parts = np.split(order, ends[:-1])
    if min(len(part) for part in parts) == 0:
        raise DataError(f"{where}: {count} examples are too few to divide into train, validation and test")
    return {name: np.sort(part) for name, part in zip(NAMES, parts, strict=True)}
