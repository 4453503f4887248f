"""Divides examples into train, validation and test for data sets without splits of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, TypeAlias, TypeVar

import numpy as np
from annotated_types import Gt, Len

from vaezoo.utils.errors import DataError

SPLIT_NAMES = ("train", "validation", "test")
Item = TypeVar("Item")

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
    return _divide(count, dict(zip(SPLIT_NAMES, fractions, strict=True)), seed, source)


def complete_splits(
    given: Mapping[str, Sequence[Item]], fractions: Sequence[float], seed: int, source: str
) -> dict[str, list[Item]]:
    """Cuts the splits that a source lacks out of its training examples, at random.

    Args:
        given: the examples of ``train``, and those of ``validation`` and ``test`` that exist.
        fractions: the shares of train, validation and test; those of the splits that are cut
            count in proportion to each other.
        seed: decides which example belongs to which split.
        source: names the data in error messages.

    Returns:
        The examples of each split, in the order in which they were given.

    Raises:
        DataError: there are too few training examples.
    """
    shares = {
        name: share
        for name, share in zip(SPLIT_NAMES, fractions, strict=True)
        if name == "train" or name not in given
    }
    cut = _divide(len(given["train"]), shares, seed, source) if len(shares) > 1 else {}
    return {
        name: [given["train"][i] for i in cut[name]] if name in cut else list(given[name])
        for name in SPLIT_NAMES
    }


def _divide(
    count: int, shares: Mapping[str, float], seed: int, source: str
) -> dict[str, np.ndarray]:
    """The sorted indices of each of the splits that ``shares`` names."""
    fractions = list(shares.values())
    ends = np.round(np.cumsum(fractions) / np.sum(fractions) * count).astype(int)
    order = np.random.default_rng(seed).permutation(count)
    parts = np.split(order, ends[:-1])
    if min(len(part) for part in parts) == 0:
        *names, last = shares
        raise DataError(
            f"{source}: {count} examples are too few to divide into {', '.join(names)} and {last}"
        )
    return {name: np.sort(part) for name, part in zip(shares, parts, strict=True)}
