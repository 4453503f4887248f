"""Precision, recall, density and coverage are those of a brute-force count."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from vaezoo_quality.distances import nearest
from vaezoo_quality.manifolds import (
    NAMES,
    Comparison,
    compare,
    compare_subsets,
    random_subsets,
)
from vaezoo_quality.sets import Sets


def brute_force(real, fake, k):
    def distances(a, b):
        return np.linalg.norm(a[:, None] - b[None], axis=-1)

    real_radii = np.sort(distances(real, real), 1)[:, k]
    fake_radii = np.sort(distances(fake, fake), 1)[:, k]
    cross = distances(real, fake)  # [n, m]
    inside = cross < real_radii[:, None]
    return {
        "precision": inside.any(0).mean(),
        "recall": (cross < fake_radii[None]).any(1).mean(),
        "density": inside.sum(0).mean() / k,
        "coverage": (cross.min(1) < real_radii).mean(),
    }


@pytest.mark.parametrize("k", [1, 5])
def test_they_are_those_of_the_definitions(k):
    torch.manual_seed(k)
    real, fake = torch.randn(700, 3), 0.8 * torch.randn(620, 3) + 0.5  # more than one block
    found = Comparison.of(real, fake, k).values()
    assert found == pytest.approx(brute_force(real.double().numpy(), fake.double().numpy(), k))
    assert 0.05 < found["recall"] < 0.95 and 0.05 < found["coverage"] < 0.95


def test_distances_far_from_the_origin_do_not_cancel():
    points = 1000 + torch.randn(30, 5).double()
    index, squares = nearest(points[:10], points[10:])
    expected = torch.linalg.norm(points[:10, None] - points[None, 10:], dim=-1).square()
    assert torch.equal(index, expected.argmin(1))
    torch.testing.assert_close(squares.double(), expected.min(1).values, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("k", [1, 5])
def test_subsets_have_the_numbers_of_a_comparison_with_them_alone(k):
    torch.manual_seed(k)
    real, samples = torch.randn(610, 3), 0.8 * torch.randn(520, 3) + 0.5
    subsets = random_subsets(len(real), real.device)
    assert (subsets.sum(1) == 457).all() and len(subsets.unique(dim=0)) == len(subsets)
    for subset, found in zip(subsets, compare_subsets(real, samples, k, subsets), strict=True):
        expected = Comparison.of(real[subset], samples, k).values()
        del expected["recall"]
        assert found == pytest.approx(expected)


def sets(seed, n=400, draws=5, unusual=0.0):
    """Sets of normal examples; a share of the real ones is far from all others."""
    torch.manual_seed(seed)
    real, train, noise = torch.randn(n, 4), torch.randn(n, 4), 10 + torch.randn(n, 4)
    real = torch.where(torch.rand(n, 1) < unusual, 8 * real, real)
    samples = tuple(0.7 * torch.randn(n, 4) + 0.7 + unusual * 600 for _ in range(draws))
    return Sets(tag="x", real=real, train=train, others=train, draws=samples, noise=noise, note="")


@pytest.mark.parametrize("unusual", [0.0, 0.005])
def test_stated_errors_are_the_spread_of_repeated_estimates(unusual):
    repeated = [compare(sets(seed, unusual=unusual), 3) for seed in range(40)]
    for name in NAMES:
        values = [each[name].value for each in repeated]
        stated = np.sqrt(np.mean([each[name].error ** 2 for each in repeated]))
        assert 0.65 < stated / np.std(values, ddof=1) < 1.6, (name, stated, np.std(values))


def test_real_examples_are_the_floor_and_noise_the_ceiling():
    for name, each in compare(sets(0), 3).items():
        assert each.details["ceiling"] < each.value, name
        assert name in ("precision", "density") or each.value < each.details["floor"], name
        assert each.details["low"] < each.value < each.details["high"], name
