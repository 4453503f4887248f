"""Priors that are fitted to codes: flows and a second VAE."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Normal
from vaezoo_flows.priors import MaskedAutoregressive, NeuralSpline, RealNVP
from vaezoo_flows.second_stage import SecondStage

import vaezoo
from vaezoo.distributions import density_of, draw, sample_prior

DATA = {"data": vaezoo.DataSpec((6,)), "train_size": 4000}


def prior(cls, context=None, dimensions=2, **options):
    torch.manual_seed(0)
    space = vaezoo.Space((dimensions,))
    wiring = vaezoo.PriorWiring(**DATA, space=space, context_shape=context)
    return cls(wiring, **({"hidden": (32,), "fit_steps": 150, "fit_lr": 5e-3} | options))


def flat(module):
    return torch.cat([value.flatten() for value in module.state_dict().values()])


def two_moons(n=4000, seed=0):
    """Two arcs, which no normal distribution describes, far from the origin."""
    generator = torch.Generator().manual_seed(seed)
    angle = math.pi * torch.rand(n, generator=generator)
    arc = torch.stack([angle.cos(), angle.sin()], -1)
    side = torch.rand(n, 1, generator=generator) < 0.5
    points = torch.where(side, arc, torch.tensor([1.0, 0.5]) - arc)
    return 10 + 5 * (points + 0.1 * torch.randn(n, 2, generator=generator))


def normal_nll(train, test):
    """Minus the log-density of a fitted normal with a full covariance, in nats."""
    fitted = torch.distributions.MultivariateNormal(train.mean(0), train.T.cov())
    return -float(fitted.log_prob(test).mean())


@pytest.mark.parametrize("cls", [RealNVP, MaskedAutoregressive, NeuralSpline])
def test_a_fitted_flow_is_nearer_to_the_codes_than_a_normal(cls):
    train, test = two_moons(), two_moons(seed=1)
    fitted = prior(cls)
    with torch.no_grad():
        fitted.fit(train, None)
        p = fitted(None, None)
        nll = -float(p.log_prob(test).mean())
        samples = p.sample((4000,))
    assert nll < normal_nll(train, test) - 0.2
    assert bool(((samples.mean(0) - train.mean(0)).abs() < 0.5).all())


def test_fitting_repeats_to_the_last_bit_and_changes_no_generator():
    state = torch.get_rng_state()
    weights = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)  # of the surroundings, which do not matter
        fitted = prior(NeuralSpline, fit_steps=5)
        before = torch.get_rng_state()
        fitted.fit(two_moons(300), None)
        assert torch.equal(before, torch.get_rng_state())
        weights.append(flat(fitted))
    assert torch.equal(weights[0], weights[1]) and torch.equal(weights[0], weights[2])
    other = prior(NeuralSpline, fit_steps=5, seed=1)
    other.fit(two_moons(300), None)
    assert not torch.equal(weights[0], flat(other))
    torch.set_rng_state(state)


def test_a_flow_of_a_context_learns_what_the_context_says():
    context = torch.randn(3000, 1, generator=torch.Generator().manual_seed(0))
    codes = torch.cat([3 * context, -context], 1) + 0.1 * torch.randn(3000, 2)
    fitted = prior(RealNVP, context=(1,))
    fitted.fit(codes, context)
    p = fitted(torch.tensor([[-1.0], [2.0]]), None)
    with torch.no_grad():
        means = p.sample((2000,)).mean(0)
    expected = torch.tensor([[-3.0, 1.0], [6.0, -2.0]])
    torch.testing.assert_close(means, expected, atol=0.5, rtol=0)


def test_codes_that_no_density_has_are_refused():
    refused = [(torch.zeros(1, 2), "at least 2"), (torch.full((5, 2), math.nan), "finite")]
    for codes, says in refused:
        for cls in (NeuralSpline, SecondStage):
            with pytest.raises(ValueError, match=says):
                prior(cls).fit(codes, None)
    with pytest.raises(ValueError, match="lower fit_lr"):
        prior(RealNVP, fit_lr=1e30).fit(two_moons(300), None)


def test_the_second_stage_draws_what_it_was_fitted_to():
    train = two_moons()
    fitted = prior(SecondStage, fit_steps=500)
    with torch.no_grad():
        fitted.fit(train, None)
        p = fitted(None, None)
        samples, bound = p.sample((4000,)), -float(p.log_prob(two_moons(seed=1)).mean())
    assert density_of(p) == "bound"
    assert bound < normal_nll(train, train)
    torch.testing.assert_close(samples.mean(0), train.mean(0), atol=0.5, rtol=0)
    torch.testing.assert_close(samples.std(0), train.std(0), atol=0.5, rtol=0)


def linear_stage():
    """A second stage with a linear decoder, whose density is known."""
    stage = prior(SecondStage, hidden=())
    with torch.no_grad():
        stage.decoder[0].weight.copy_(torch.tensor([[1.5, 0.0], [0.5, 0.7]]))
        stage.decoder[0].bias.copy_(torch.tensor([0.3, -0.2]))
        stage.log_noise.fill_(-0.5)
        stage.shift.copy_(torch.tensor([2.0, -1.0]))
        stage.scale.copy_(torch.tensor([0.5, 3.0]))
    a, noise = stage.decoder[0].weight.detach(), math.exp(-0.5)
    covariance = stage.scale[:, None] * (a @ a.T + noise**2 * torch.eye(2)) * stage.scale
    mean = stage.shift + stage.scale * stage.decoder[0].bias.detach()
    return stage, torch.distributions.MultivariateNormal(mean, covariance)


@torch.no_grad()
def test_the_bound_of_a_linear_second_stage_is_below_its_density_and_reaches_it():
    stage, exact = linear_stage()
    z = exact.sample((50,))
    bound = stage(None, None).log_prob(z.expand(4000, 50, 2)).mean(0)
    assert bool((bound < exact.log_prob(z)).all())
    a, noise = stage.decoder[0].weight, math.exp(-0.5)
    precision = torch.eye(2) + a.T @ a / noise**2  # of u given z: its posterior is normal
    covariance = torch.linalg.inv(precision)
    weight = covariance @ a.T / noise**2
    # a diagonal posterior with this mean and these scales is the best one
    encoder = stage.encoder[0]
    encoder.weight.copy_(torch.cat([weight, torch.zeros(2, 2)]))
    scales = -0.5 * precision.diagonal().log()
    encoder.bias.copy_(torch.cat([-weight @ stage.decoder[0].bias, scales]))
    best = stage(None, None).log_prob(z.expand(4000, 50, 2)).mean(0)
    gap = 0.5 * (precision.diagonal().log().sum() - torch.logdet(precision))  # KL(q || p(u|z))
    torch.testing.assert_close(exact.log_prob(z) - best, gap.expand(50), atol=0.1, rtol=0)


@torch.no_grad()
def test_samples_of_a_linear_second_stage_have_its_moments_at_every_temperature():
    stage, exact = linear_stage()
    p = stage(None, None)
    for temperature in (1.0, 0.25):
        samples = sample_prior(p, 100_000, temperature)
        torch.testing.assert_close(samples.mean(0), exact.mean, atol=0.05, rtol=0)
        expected = temperature * exact.covariance_matrix
        torch.testing.assert_close(samples.T.cov(), expected, atol=0.1, rtol=0.05)
    assert torch.equal(draw(p, 0.0), stage.shift + stage.scale * stage.decoder[0].bias)


def test_a_prior_that_was_not_fitted_is_the_standard_normal():
    for cls in (MaskedAutoregressive, NeuralSpline):
        z = torch.randn(5, 2)
        density = prior(cls)(None, None).log_prob(z)
        torch.testing.assert_close(density, Normal(0.0, 1.0).log_prob(z).sum(-1))
