"""The Frechet distance is that of the closed form, and its stated error is its spread."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from vaezoo_quality.frechet import (
    Moments,
    frechet_distance,
    moments,
    resampled_variance,
)


def covariance(dims, seed):
    root = torch.randn(dims, dims, generator=torch.Generator().manual_seed(seed)).double()
    return root @ root.T + 0.1 * torch.eye(dims)


def test_of_normals_with_diagonal_covariances_it_is_the_closed_form():
    """|m_a - m_b|^2 + sum (s_a - s_b)^2."""
    a, b = torch.rand(2, 5, 2).double()
    (mean_a, scale_a), (mean_b, scale_b) = a.T, b.T
    found = frechet_distance(
        Moments(mean_a, scale_a.square().diag()), Moments(mean_b, scale_b.square().diag())
    )
    expected = (mean_a - mean_b).square().sum() + (scale_a - scale_b).square().sum()
    assert found == pytest.approx(float(expected), rel=1e-10)


def test_of_other_covariances_it_is_that_of_the_eigenvalues_of_their_product():
    a, b = covariance(6, 0), covariance(6, 1)
    mean = torch.zeros(6).double()
    root = np.sqrt(np.linalg.eigvals((a @ b).numpy()).real).sum()
    expected = float(a.trace() + b.trace()) - 2 * root
    assert frechet_distance(Moments(mean, a), Moments(mean, b)) == pytest.approx(expected)
    assert frechet_distance(Moments(mean, a), Moments(mean, a)) == pytest.approx(0, abs=1e-9)


def test_singular_covariances_have_a_distance():
    x, y = torch.randn(4, 10), torch.randn(4, 10)
    assert np.isfinite(frechet_distance(moments(x), moments(y)))
    assert frechet_distance(moments(x), moments(x)) == pytest.approx(0, abs=1e-6)


def test_moments_are_those_of_numpy_and_weights_are_repetitions():
    x = torch.randn(20, 3)
    found, times = moments(x), torch.arange(20) % 3
    np.testing.assert_allclose(found.covariance, np.cov(x.double().numpy().T), rtol=1e-12)
    weights = times.double() * 20 / times.sum()
    repeated = x.repeat_interleave(times, 0).double()
    weighted = moments(x, weights)
    torch.testing.assert_close(weighted.mean, repeated.mean(0))
    expected = torch.cov(repeated.T, correction=0) * 20 / 19
    torch.testing.assert_close(weighted.covariance, expected)


def test_the_stated_variance_is_the_spread_over_real_examples():
    samples = 1.3 * torch.randn(400, 4, generator=torch.Generator().manual_seed(99)) + 0.3
    stated, values = [], []
    for seed in range(60):
        torch.manual_seed(seed)
        real = torch.randn(400, 4)
        stated.append(resampled_variance(real, samples))
        values.append(frechet_distance(moments(real), moments(samples)))
    ratio = (np.mean(stated) / np.var(values, ddof=1)) ** 0.5
    assert 0.75 < ratio < 1.35, ratio
