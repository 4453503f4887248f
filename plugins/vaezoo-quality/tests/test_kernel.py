"""The kernel distance is that of the definition, and unbiased."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from vaezoo_quality.kernel import squared_mmd, subset_values


def kernel(a, b):
    return (float(a @ b) / len(a) + 1) ** 3


def test_it_is_that_of_a_loop_over_pairs():
    x, y = torch.randn(7, 3).double(), torch.randn(5, 3).double() + 1

    def within(points):
        pairs = [(a, b) for i, a in enumerate(points) for j, b in enumerate(points) if i != j]
        return np.mean([kernel(a, b) for a, b in pairs])

    across = np.mean([kernel(a, b) for a in x for b in y])
    assert squared_mmd(x, y) == pytest.approx(within(x) + within(y) - 2 * across)


@pytest.mark.parametrize("is_same", [False, True])
def test_its_mean_over_all_possible_samples_is_the_distance_of_the_distributions(is_same):
    first = torch.randn(3, 2).double()
    second = first if is_same else torch.randn(4, 2).double()

    def mean(a, b):
        return np.mean([kernel(p, q) for p in a for q in b])

    exact = mean(first, first) + mean(second, second) - 2 * mean(first, second)
    estimates = [
        squared_mmd(torch.stack(x), torch.stack(y))
        for x in product(first, repeat=2)
        for y in product(second, repeat=3)
    ]
    assert np.mean(estimates) == pytest.approx(exact, rel=1e-9, abs=1e-9)
    assert not is_same or min(estimates) < 0 < max(estimates)


def test_subsets_are_disjoint_and_tell_the_error_of_their_mean():
    """Over 200 repetitions, the mean is as far from 0 as the standard errors say."""
    torch.manual_seed(0)
    ratios = []
    for _ in range(200):
        values = subset_values(torch.randn(203, 4), torch.randn(203, 4), 20)
        assert len(values) == 10
        ratios.append(float(values.mean() / (values.std() / 10**0.5)))
    assert abs(np.mean(ratios)) < 0.25
    assert 0.85 < np.std(ratios) < 1.4  # that of Student's t with 9 degrees of freedom is 1.13
