"""Distributions in fp32 at the extremes of their parameters, beside scipy's in fp64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import integrate, special, stats

from vaezoo.distributions import ContinuousBernoulli, DiscretizedLogistic, NormalMixture, normal

LARGEST_DRAW = 1 - 2.0**-24
"""The largest number that ``torch.rand`` draws."""


def close(actual, expected, **tolerance):
    torch.testing.assert_close(actual.detach().double(), torch.tensor(expected), **tolerance)


@pytest.fixture
def continuous_bernoulli():
    """Continuous Bernoullis, their logits, and the distance of values from the end of [0, 1] where
    the density is higher: truncated exponentials of scipy."""
    magnitudes = torch.tensor([0.05, 0.3, 0.6, 5.0, 15.0, 17.0, 30.0, 100.0, 1e4])
    h = torch.cat([-magnitudes, magnitudes]).requires_grad_()
    a = h.detach().abs().double().numpy()
    return ContinuousBernoulli(logits=h, validate_args=False), h, stats.truncexpon(a, scale=1 / a)


def mirrored(h, value):
    """A value or a distance in fp64, counted from 1 where the logit is positive."""
    value = np.asarray(value, dtype=float)
    return np.where(h.detach().numpy() > 0, 1 - value, value)


def test_a_continuous_bernoulli_is_exact_for_large_logits(continuous_bernoulli):
    px, h, distance = continuous_bernoulli
    close(px.mean, mirrored(h, distance.mean()), atol=5e-7, rtol=0)
    (slope,) = torch.autograd.grad(px.mean.sum(), h)
    for variance in (px.variance, slope):
        close(variance, distance.var(), atol=2e-6, rtol=1e-6)
    x = torch.tensor([[0.0], [0.25], [1.0]])
    log_p = px.log_prob(x)
    close(log_p, distance.logpdf(mirrored(h, x)), atol=1e-4, rtol=1e-6)
    (slope,) = torch.autograd.grad(log_p.sum(), h)  # of exponential families
    close(slope, x.sum().item() - 3 * mirrored(h, distance.mean()), atol=2e-6, rtol=0)
    a = h.detach().abs().double().numpy()
    entropy = a * distance.mean() - np.log(a / -np.expm1(-a))  # -E[log p]
    close(px.entropy(), entropy, atol=1e-3, rtol=0)
    below = distance.cdf(mirrored(h, x))
    close(px.cdf(x), np.where(h.detach().numpy() > 0, 1 - below, below), atol=1e-6, rtol=0)


def test_draws_of_a_continuous_bernoulli_are_quantiles_for_large_logits(continuous_bernoulli):
    px, h, distance = continuous_bernoulli
    u = torch.tensor([[0.0], [1e-3], [0.25], [0.999], [LARGEST_DRAW]])
    x = px.icdf(u)
    assert bool(((x >= 0) & (x <= 1)).all())
    expected = mirrored(h, distance.ppf(mirrored(h, u)))
    close(x[1:4], expected[1:4], atol=2e-7, rtol=2e-5)
    # the derivative of F(x; h) = u: minus dF/dh over the density, by central differences
    (slope,) = torch.autograd.grad(x[2].sum(), h)
    a, step = np.abs(h.detach().double().numpy()), 1e-5

    def quantile(a):
        return stats.truncexpon.ppf(mirrored(h, 0.25), a) / a

    difference = (quantile(a * (1 + step)) - quantile(a * (1 - step))) / (2 * step * a)
    close(slope, -difference, atol=1e-6, rtol=2e-4)
    draws = px.sample((20_000,)).double()
    error = torch.from_numpy(distance.std()) / 20_000**0.5
    assert bool(
        ((draws.mean(0) - torch.from_numpy(mirrored(h, distance.mean()))).abs() < 5 * error).all()
    )


def test_a_continuous_bernoulli_near_0_and_beyond_all_bounds():
    u = torch.tensor([[1e-3], [0.3], [0.9]])
    h = torch.tensor([-1e-3, -1e-7, 0.0, 1e-7, 1e-3]).requires_grad_()
    px = ContinuousBernoulli(logits=h, validate_args=False)
    x, spread = px.icdf(u), (u * (1 - u)).double()
    torch.testing.assert_close(x.double(), u + h.double() * spread / 2, atol=2e-7, rtol=0)
    (slope,) = torch.autograd.grad(x.sum(), h)
    torch.testing.assert_close(slope.double(), (spread.sum() / 2).expand(5), atol=2e-4, rtol=0)
    h = torch.tensor([-1e38, -1e6, 1e6, 1e38]).requires_grad_()
    px = ContinuousBernoulli(logits=h, validate_args=False)
    for value in (px.mean, px.variance, px.log_prob(torch.tensor(0.3)), px.icdf(u), px.entropy()):
        assert bool(value.isfinite().all())
        assert bool(torch.autograd.grad(value.sum(), h)[0].isfinite().all())


@pytest.mark.parametrize("has_fp64", [True, False])
def test_a_mixture_of_narrow_normals_far_from_0_is_exact(has_fp64, monkeypatch):
    monkeypatch.setattr(normal, "_has_fp64", lambda device: has_fp64)
    logits, offset = torch.randn(20), torch.randn(20, 5)
    loc = (30 + 0.05 * offset).requires_grad_()
    log_scale = (np.log(0.01) + 0.3 * torch.randn(20, 5)).requires_grad_()
    mixture = NormalMixture(logits, loc, log_scale)
    z = mixture.sample((50,)).requires_grad_()
    m, s = loc.detach().double().numpy(), np.exp(log_scale.detach().double().numpy())
    x = z.detach().double().numpy()[:, None]
    log_weights = special.log_softmax(logits.double().numpy())
    log_p = log_weights + stats.norm.logpdf(x, m, s).sum(-1)  # [50, 20]
    with torch.autocast("cpu", torch.bfloat16):  # which must not reach the products
        actual = mixture.log_prob(z)
    assert actual.dtype == torch.float32
    close(actual, special.logsumexp(log_p, 1), atol=2e-3, rtol=0)  # fp32 rounds log sigma
    share = special.softmax(log_p, 1)[..., None]
    slopes = torch.autograd.grad(actual.sum(), (z, loc, log_scale))
    expected = (-share * (x - m) / s**2, share * (x - m) / s**2, share * (((x - m) / s) ** 2 - 1))
    for slope, terms, axis in zip(slopes, expected, (1, 0, 0), strict=True):
        error = np.abs(slope.double().numpy() - terms.sum(axis))
        assert error.max() < 1e-3 * np.abs(terms).sum(axis).max()


def test_the_mean_of_a_discretized_logistic_is_that_of_its_draws():
    loc, log_scale = torch.meshgrid(
        torch.tensor([-2.0, -0.1, 0.0, 0.3, 0.9, 1.0, 5.0]),
        torch.tensor([-100.0, -7.0, -2.5, -2.0, 0.0, 4.0, 15.0, 100.0]),
        indexing="ij",
    )
    px = DiscretizedLogistic(loc, log_scale, 256)
    for n, mean in enumerate(px.mean.flatten().tolist()):
        centre, scale = float(loc.flatten()[n]), float(log_scale.flatten()[n].double().exp())
        points = [centre] if 0 < centre < 1 else None
        tail = integrate.quad(
            lambda x, c=centre, s=scale: special.expit((c - x) / s), 0, 1, points=points, limit=200
        )
        assert mean == pytest.approx(tail[0], abs=2e-6)
    wide = DiscretizedLogistic(loc[:, 3:5], log_scale[:, 3:5], 256)
    draws = wide.sample((4000,))
    torch.testing.assert_close(draws.mean(0), wide.mean, atol=5 * 0.5 / 4000**0.5, rtol=0)


@pytest.mark.parametrize("u", [0.0, LARGEST_DRAW])
def test_the_extreme_uniform_numbers_draw_a_value(u, monkeypatch):
    monkeypatch.setattr(torch, "rand", lambda shape, device: torch.full(shape, u))
    loc, log_scale = torch.tensor([0.5, 0.5, -20.0]), torch.tensor([-7.0, 4.0, -100.0])
    draws = DiscretizedLogistic(loc, log_scale, 2).sample()
    assert draws.tolist() == ([0, 0, 0] if u == 0 else [1, 1, 0])
