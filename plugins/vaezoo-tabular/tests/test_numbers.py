"""Likelihoods of counts and limited numbers, with scipy's densities as oracles."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from vaezoo_tabular.numbers import (
    NegativeBinomialLikelihood,
    PoissonLikelihood,
    TruncatedNormal,
    TruncatedNormalLikelihood,
)

import vaezoo


def wiring(support, **field):
    fields = (vaezoo.Field("a", "numeric", (0, 1), **field),) if field else ()
    return vaezoo.Wiring(data=vaezoo.DataSpec((1,), support, fields=fields), train_size=1)


def test_counts_have_the_probabilities_of_scipy():
    x = torch.tensor([[0.0], [3.0], [40.0]])
    h = torch.tensor([[-3.0], [1.0], [5.0]])
    rate = np.log1p(np.exp(h.numpy())) + 1e-6
    found = PoissonLikelihood(wiring("count"))(h, {}).log_prob(x)
    np.testing.assert_allclose(found, stats.poisson.logpmf(x, rate)[:, 0], rtol=1e-4)
    likelihood = NegativeBinomialLikelihood(wiring("count"))
    h = torch.tensor([[-3.0, 2.0], [1.0, -1.0], [5.0, 3.0]])
    mean, r = np.log1p(np.exp(h.numpy().T)) + 1e-6
    px = likelihood(h, {})
    expected = stats.nbinom.logpmf(x[:, 0], r, r / (r + mean))
    np.testing.assert_allclose(px.log_prob(x), expected, rtol=1e-4)
    np.testing.assert_allclose(px.mean[:, 0], mean, rtol=1e-4)
    np.testing.assert_allclose(px.variance[:, 0], mean + mean**2 / r, rtol=1e-4)


@pytest.mark.parametrize(
    ("loc", "scale"), [(0.5, 1.0), (-4.0, 0.7), (6.0, 0.5), (0.0, 50.0), (9.0, 0.8)]
)
def test_a_truncated_normal_is_that_of_scipy(loc, scale):
    low, high = -1.0, 2.0
    px = TruncatedNormal(torch.tensor(loc), torch.tensor(scale), low, high)
    known = stats.truncnorm((low - loc) / scale, (high - loc) / scale, loc, scale)
    x = torch.linspace(low, high, 7)
    np.testing.assert_allclose(px.log_prob(x), known.logpdf(x), rtol=2e-3, atol=2e-3)
    assert px.log_prob(torch.tensor(2.1)) == -torch.inf
    torch.manual_seed(0)
    drawn = px.sample((4000,))
    assert stats.kstest(drawn.numpy(), known.cdf).statistic < 0.03
    assert drawn.min() >= low and drawn.max() <= high
    np.testing.assert_allclose(px.mean, known.mean(), rtol=2e-3, atol=2e-3)


def test_limits_are_in_the_units_of_the_source():
    data = wiring("real", offset=10.0, scale=5.0)
    px = TruncatedNormalLikelihood(data, low=0.0, high=20.0)(torch.zeros(3, 2), {})
    drawn = px.sample() * 5 + 10
    assert drawn.shape == (3, 1) and (drawn >= 0).all() and (drawn <= 20).all()
    assert px.log_prob(torch.full((3, 1), 2.1)).isinf().all()
    with pytest.raises(ValueError, match="low: 3 must be less than high: 3"):
        TruncatedNormalLikelihood(data, low=3.0, high=3.0)


def test_gradients_are_finite_far_from_the_limits():
    loc = torch.tensor([-30.0, 30.0, 0.0], requires_grad=True)
    px = TruncatedNormal(loc, torch.full((3,), 0.5), -1.0, 2.0)
    px.log_prob(torch.tensor([0.0, 0.0, 0.0])).sum().backward()
    assert loc.grad.isfinite().all()
