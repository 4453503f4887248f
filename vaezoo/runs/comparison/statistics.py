"""Tests of differences between means, with intervals and a correction for their number.

Shapes: n examples or seeds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

LEVEL = 0.95
"""The level of intervals."""


@dataclass(frozen=True)
class Difference:
    """The difference of two means.

    Attributes:
        mean: the first mean minus the second.
        low, high: its 95 % interval.
        p: how often equal means give a difference at least as large, by Student's t.
    """

    mean: float
    low: float
    high: float
    p: float


def paired_difference(first: Tensor, second: Tensor) -> Difference:
    """The mean of the differences between two numbers of each example, ``[n]`` each.

    A paired t-test: what makes an example hard for both models cancels.
    """
    differences = first.double() - second.double()
    n = len(differences)
    error = float(differences.std()) / math.sqrt(n) if n > 1 else math.nan
    return _by_t(float(differences.mean()), error, n - 1)


def independent_difference(first: Tensor, second: Tensor) -> Difference:
    """The difference between the means of two samples, ``[n]`` and ``[m]`` (Welch 1947)."""
    first, second = first.double(), second.double()
    shares = [float(each.var()) / len(each) for each in (first, second)]
    error = math.sqrt(sum(shares))
    freedom = math.inf
    if error > 0:
        sizes = (len(first), len(second))
        freedom = error**4 / sum(s**2 / (n - 1) for s, n in zip(shares, sizes, strict=True))
    return _by_t(float(first.mean() - second.mean()), error, freedom)


def _by_t(mean: float, error: float, freedom: float) -> Difference:
    """The difference of a mean, its standard error and its degrees of freedom."""
    from scipy import stats

    if error == 0:  # every difference is the same
        return Difference(mean, mean, mean, float(mean == 0))
    margin = error * float(stats.t.ppf(0.5 + LEVEL / 2, freedom))
    p = 2 * float(stats.t.sf(abs(mean) / error, freedom))
    return Difference(mean, mean - margin, mean + margin, p)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values that are corrected for their number (Holm 1979), in the same order.

    Rejecting those below 5 % rejects a true hypothesis in at most 5 % of all cases.
    """
    adjusted, largest = [0.0] * len(p_values), 0.0
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def spread(values: Sequence[float]) -> tuple[float, float | None]:
    """The mean of the values of several seeds, and its standard error."""
    tensor = torch.tensor(values, dtype=torch.float64)
    error = float(tensor.std()) / math.sqrt(len(values)) if len(values) > 1 else None
    return float(tensor.mean()), error
