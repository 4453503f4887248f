"""Likelihoods are normalised and match reference implementations."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tests.conftest import data_wiring
from vaezoo.components.likelihoods import (
    BernoulliLikelihood,
    CategoricalLikelihood,
    ContinuousBernoulliLikelihood,
    DiscretizedLogisticLikelihood,
    LaplaceLikelihood,
    MixtureNormalLikelihood,
    NormalLikelihood,
)
from vaezoo.data.dataspec import DataSpec
from vaezoo.distributions import draw

REAL = data_wiring(DataSpec((1,), "real"))
UNIT = data_wiring(DataSpec((1,), "unit", 256))
BINARY = data_wiring(DataSpec((1,), "binary", 2))
SERIES = data_wiring(DataSpec((5, 3), "real", mask_dims=1, variable_length=True))
SYMBOLS = data_wiring(DataSpec((5, 4), "one-hot", 2, mask_dims=1, variable_length=True))


def density(likelihood, h, grid):
    """p at each grid point for one scalar of data, ``[points, n]``."""
    return likelihood(h, {}).log_prob(grid[:, None, None]).exp().double()


def integral(values, grid):
    return torch.from_numpy(np.trapezoid(values.detach().numpy(), grid.double().numpy(), axis=0))


@pytest.mark.parametrize(
    ("likelihood", "low", "high"),
    [
        (NormalLikelihood(REAL, scale=0.7), -30, 30),
        (NormalLikelihood(REAL, scale="learned"), -30, 30),
        (LaplaceLikelihood(REAL, scale=0.5), -30, 30),
        (ContinuousBernoulliLikelihood(UNIT), 0, 1),
    ],
)
def test_densities_integrate_to_one(likelihood, low, high):
    grid = torch.linspace(low, high, 60_001)
    h = torch.tensor([[-3.0], [-0.3], [0.0], [1.0], [4.0]])
    torch.testing.assert_close(
        integral(density(likelihood, h, grid), grid),
        torch.ones(5, dtype=torch.double),
        atol=2e-3,
        rtol=0,
    )


@pytest.mark.parametrize(
    ("likelihood", "levels"),
    [
        (BernoulliLikelihood(BINARY), 2),
        (CategoricalLikelihood(UNIT), 256),
        (CategoricalLikelihood(BINARY), 2),
        (DiscretizedLogisticLikelihood(UNIT), 256),
        (DiscretizedLogisticLikelihood(UNIT, levels=5), 5),
    ],
)
def test_masses_sum_to_one(likelihood, levels):
    h = 3 * torch.randn(7, *likelihood.parameter_shape)
    values = torch.linspace(0, 1, levels)
    total = density(likelihood, h, values).sum(0)
    torch.testing.assert_close(total, torch.ones(7, dtype=torch.double), atol=1e-4, rtol=0)


def test_discretized_logistic_is_the_difference_of_the_cdf():
    likelihood = DiscretizedLogisticLikelihood(UNIT)
    h = torch.tensor([[0.1, 0.5]])
    value = torch.tensor([[100 / 255]])
    loc, scale, half = 0.6, math.exp(0.5 - 2.0), 0.5 / 255
    upper, lower = (1 / (1 + math.exp(-(100 / 255 + s * half - loc) / scale)) for s in (1, -1))
    assert float(likelihood(h, {}).log_prob(value)) == pytest.approx(
        math.log(upper - lower), abs=1e-4
    )


def test_discretized_logistic_is_finite_far_out():
    likelihood = DiscretizedLogisticLikelihood(UNIT)
    h = torch.tensor([[50.0, -20.0], [-50.0, -20.0]], requires_grad=True)
    log_p = likelihood(h, {}).log_prob(torch.tensor([[0.2], [0.7]]))
    assert torch.isfinite(log_p).all()
    log_p.sum().backward()
    assert torch.isfinite(h.grad).all()


def test_bernoulli_is_the_cross_entropy():
    likelihood = BernoulliLikelihood(data_wiring(DataSpec((2, 3), "unit")))
    h, x = 8 * torch.randn(4, 5, 2, 3), torch.rand(5, 2, 3)
    expected = -torch.nn.functional.binary_cross_entropy_with_logits(
        h, x.expand_as(h), reduction="none"
    ).sum((-1, -2))
    torch.testing.assert_close(likelihood(h, {}).log_prob(x), expected)


def test_likelihoods_sum_over_pixels_and_channels():
    likelihood = NormalLikelihood(data_wiring(DataSpec((3, 4, 4), "unit")), scale=1.0)
    log_p = likelihood(torch.zeros(2, 5, 3, 4, 4), {}).log_prob(torch.zeros(5, 3, 4, 4))
    torch.testing.assert_close(log_p, torch.full((2, 5), -0.5 * math.log(2 * math.pi) * 48))


def test_optimal_variance_is_the_best_one():
    likelihood = NormalLikelihood(REAL, scale="optimal")
    loc, x = torch.randn(500, 1), torch.randn(500, 1) * 0.3
    best = likelihood(loc, {}).log_prob(x).mean()
    mse = float((x - loc).square().mean())
    for factor in (0.9, 1.1):
        fixed = NormalLikelihood(REAL, scale=math.sqrt(mse) * factor)
        assert best > fixed(loc, {}).log_prob(x).mean()
    assert float(best) == pytest.approx(-0.5 * math.log(2 * math.pi * math.e * mse), abs=1e-2)


def test_optimal_variance_is_soft_clipped_and_kept_for_evaluation():
    likelihood = NormalLikelihood(REAL, scale="optimal")
    likelihood(torch.zeros(9, 1), {}).log_prob(torch.zeros(9, 1) + 1e-9)
    assert -6 < float(likelihood.log_scale) < -5.9
    likelihood = NormalLikelihood(REAL, scale="optimal")
    for _ in range(3):
        likelihood(torch.zeros(9, 1), {}).log_prob(torch.full((9, 1), 2.0))
    likelihood.eval()
    one = likelihood(torch.zeros(9, 1), {}).log_prob(torch.full((9, 1), 2.0))
    assert float(likelihood.log_scale) == pytest.approx(math.log(2), abs=2e-3)
    assert "log_scale" in likelihood.state_dict()
    torch.testing.assert_close(
        one,
        torch.distributions.Normal(0.0, 2.0).log_prob(torch.full((9,), 2.0)),
        atol=1e-3,
        rtol=0,
    )


def test_train_and_evaluation_use_one_sigma():
    for scale in (0.4, "learned"):
        likelihood = NormalLikelihood(REAL, scale=scale)
        h, x = torch.randn(5, 1), torch.randn(5, 1)
        trained = likelihood.train()(h, {}).log_prob(x)
        torch.testing.assert_close(trained, likelihood.eval()(h, {}).log_prob(x))


@pytest.mark.parametrize(
    "cls", [BernoulliLikelihood, ContinuousBernoulliLikelihood, CategoricalLikelihood]
)
def test_data_out_of_range_is_refused(cls):
    with pytest.raises(
        ValueError, match=r"needs binary or (one-hot or )?unit data, but this data set is real"
    ):
        cls(REAL)


def test_categorical_needs_levels():
    with pytest.raises(ValueError, match="give `levels`"):
        CategoricalLikelihood(data_wiring(DataSpec((1,), "unit")))


@pytest.mark.parametrize(
    "likelihood",
    [
        BernoulliLikelihood(BINARY),
        ContinuousBernoulliLikelihood(UNIT),
        CategoricalLikelihood(UNIT),
        DiscretizedLogisticLikelihood(UNIT),
        NormalLikelihood(REAL, scale=0.2),
        LaplaceLikelihood(REAL, scale=0.2),
    ],
)
def test_samples_have_the_mean_that_is_shown(likelihood):
    h = 0.5 * torch.randn(3, *likelihood.parameter_shape)
    px = likelihood(h, {})
    assert px.sample().shape == px.mean.shape == (3, 1)
    samples = px.sample((4000,))
    torch.testing.assert_close(samples.mean(0), px.mean, atol=0.03, rtol=0)


def test_predicted_scales_are_those_of_torch():
    likelihood = NormalLikelihood(SERIES, scale="predicted", minimum=-20.0, maximum=None)
    h, x = torch.randn(2, 5, 6), torch.randn(2, 5, 3)
    sigma = torch.nn.functional.softplus(h[..., 3:] + 20).sub(20).exp()
    expected = torch.distributions.Normal(h[..., :3], sigma).log_prob(x).sum(-1)
    assert likelihood.parameter_shape == (5, 6)
    torch.testing.assert_close(likelihood(h, {}).log_prob(x), expected)


def test_a_mixture_of_normals_is_the_sum_of_its_parts():
    likelihood = MixtureNormalLikelihood(SERIES, components=4, maximum=None)
    assert likelihood.parameter_shape == (5, 4 * 7)
    h, x = torch.randn(2, 5, 28, dtype=torch.double), torch.randn(2, 5, 3, dtype=torch.double)
    total = torch.zeros(2, 5, dtype=torch.double)
    weights = h.unflatten(-1, (4, 7))[..., 0].softmax(-1)
    for k, shift in enumerate(torch.linspace(-1, 1, 4, dtype=torch.double)):
        part = h.unflatten(-1, (4, 7))[..., k, 1:]
        sigma = (torch.nn.functional.softplus(part[..., 3:] + 6) - 6).exp()
        total += (
            weights[..., k]
            * torch.distributions.Normal(part[..., :3] + shift, sigma).log_prob(x).sum(-1).exp()
        )
    torch.testing.assert_close(likelihood(h, {}).log_prob(x), total.log(), atol=1e-6, rtol=1e-6)


def test_a_mixture_of_normals_draws_from_its_components():
    likelihood = MixtureNormalLikelihood(
        data_wiring(DataSpec((1,), "real")), components=2, minimum=-10.0
    )
    h = torch.tensor(
        [[math.log(3.0), -3.0, -5.0, 0.0, 3.0, -5.0]]
    )  # weights 3/4 and 1/4 at -4 and 4
    samples = likelihood(h, {}).sample((4000,))
    torch.testing.assert_close(samples.mean(0), likelihood(h, {}).mean, atol=0.2, rtol=0)
    assert float((samples < 0).float().mean()) == pytest.approx(0.75, abs=0.03)
    torch.testing.assert_close(draw(likelihood(h, {}), 0), torch.tensor([[-4.0]]))


def test_a_mixture_of_normals_wants_vectors():
    with pytest.raises(ValueError, match="needs vectors"):
        MixtureNormalLikelihood(data_wiring(DataSpec((1, 4, 4), "real")))


def test_one_hot_steps_cost_their_cross_entropy():
    likelihood = CategoricalLikelihood(SYMBOLS)
    h, index = torch.randn(2, 5, 4), torch.randint(4, (2, 5))
    expected = -torch.nn.functional.cross_entropy(h.movedim(-1, 1), index, reduction="none")
    x = torch.nn.functional.one_hot(index, 4).float()
    assert likelihood.parameter_shape == (5, 4)
    torch.testing.assert_close(likelihood(h, {}).log_prob(x), expected)
    complete = CategoricalLikelihood(data_wiring(DataSpec((5, 4), "one-hot", 2)))
    torch.testing.assert_close(complete(h, {}).log_prob(x), expected.sum(-1))
    with pytest.raises(ValueError, match="levels is for pixels"):
        CategoricalLikelihood(SYMBOLS, levels=4)


def test_a_continuous_bernoulli_keeps_its_digits():
    """Mean, variance, density and its gradient in fp32, against torch's formulas in fp64 where
    those do not cancel."""
    logits = torch.linspace(-3, 3, 6000)
    exact = torch.distributions.ContinuousBernoulli(
        logits=logits.double().requires_grad_(), lims=(0.4999, 0.5001), validate_args=False
    )
    px = ContinuousBernoulliLikelihood(data_wiring(DataSpec((1,), "unit", 0)))(
        logits[:, None].requires_grad_(), {}
    )
    away = logits.abs() > 1e-3
    for result, expected, digits in (
        (px.mean[:, 0], exact.mean, 1e-6),
        (px.variance[:, 0], exact.variance, 2e-6),
        (
            px.log_prob(torch.full((6000, 1), 0.3)),
            exact.log_prob(torch.tensor(0.3, dtype=torch.float64)),
            1e-6,
        ),
    ):
        torch.testing.assert_close(result[away].double(), expected[away], atol=digits, rtol=0)
    h = px.base_dist.logits
    (slope,) = torch.autograd.grad(px.base_dist._cont_bern_log_norm().sum(), h)
    expected = 1 / logits.double() - 1 / logits.double().sinh()
    torch.testing.assert_close(slope[away, 0].double(), expected[away], atol=1e-6, rtol=0)


def test_draws_of_a_continuous_bernoulli_have_its_mean():
    px = ContinuousBernoulliLikelihood(data_wiring(DataSpec((1,), "unit", 0)))(
        torch.tensor([[-0.2], [0.0], [0.2], [4.0]]), {}
    )
    x = px.sample((200_000,))
    torch.testing.assert_close(x.mean(0), px.mean, atol=4 * 0.29 / 200_000**0.5, rtol=0)


def test_a_continuous_bernoulli_of_large_logits_is_finite():
    h = torch.tensor([[-1e4], [-90.0], [0.0], [90.0], [1e4]]).requires_grad_()
    px = ContinuousBernoulliLikelihood(data_wiring(DataSpec((1,), "unit", 0)))(h, {})
    total = px.log_prob(torch.full((5, 1), 0.5)).sum() + px.mean.sum()
    total.backward()
    assert bool(total.isfinite()) and bool(h.grad.isfinite().all())
