"""Limits of scales: posteriors, priors and likelihoods with parameters that ran away."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.distributions import kl_divergence

from tests.conftest import CPU, data_wiring
from vaezoo.components.likelihoods import (
    DiscretizedLogisticLikelihood,
    LaplaceLikelihood,
    MixtureNormalLikelihood,
    NormalLikelihood,
)
from vaezoo.components.posteriors import DiagonalNormalPosterior
from vaezoo.components.priors import Mixture
from vaezoo.data.dataspec import DataSpec
from vaezoo.distributions import LogScaleLimits, UnitNormal
from vaezoo.model.wiring import PosteriorWiring, PriorWiring, Space
from vaezoo.runs.setup import prepare_training
from vaezoo.spec.load import load_spec
from vaezoo.training.phase_optimizer import PhaseOptimizer

REAL, UNIT = data_wiring(DataSpec((1,), "real")), data_wiring(DataSpec((1,), "unit", 256))
NETWORK_OUTPUTS = torch.tensor([-1e4, -100.0, -20.0, -7.0, 0.0, 1.0, 7.0, 30.0, 100.0, 1e4])
UNLIMITED = {"minimum": None, "maximum": None}


def limited(value, minimum, maximum):
    """The formula of the documentation, in fp64."""
    value = value.detach().double().numpy()
    inside = np.clip(value, minimum + math.pi / 2, maximum - math.pi / 2)
    return torch.as_tensor(inside + np.arctan(value - inside))


def posterior(in_shape=(8,), shape=(3,), **options):
    wiring = PosteriorWiring(
        data=DataSpec((4,)), train_size=100, in_shape=in_shape, space=Space(shape)
    )
    return DiagonalNormalPosterior(wiring, **options)


def test_limits_are_smooth_and_leave_a_slope():
    v = NETWORK_OUTPUTS.clone().requires_grad_()
    result = LogScaleLimits(-10.0, 4.0)(v)
    torch.testing.assert_close(result.double(), limited(v, -10, 4), atol=1e-6, rtol=0)
    (slope,) = torch.autograd.grad(result.sum(), v)
    assert bool((slope > 0).all()) and slope.min() > 1e-9
    assert torch.equal(result[3:6], v[3:6]) and slope[3:6].tolist() == [1, 1, 1]
    assert LogScaleLimits()(v) is v
    assert LogScaleLimits(maximum=4.0)(v)[0].item() == -1e4
    assert LogScaleLimits(minimum=-10.0)(v)[-1].item() == 1e4
    assert LogScaleLimits(-10.0, 4.0)(torch.tensor([-math.inf, math.inf])).tolist() == [-10, 4]
    with pytest.raises(ValueError, match=r"maximum: -7 must be at least -6\.86: pi above minimum"):
        LogScaleLimits(-10.0, -7.0)


@pytest.mark.parametrize(
    ("in_shape", "shape"), [((8,), (3,)), ((2, 4, 4), (3, 4, 4)), ((2, 4, 4), (3,))]
)
def test_a_posterior_without_limits_is_that_of_its_layer_to_the_bit(in_shape, shape):
    q_of = posterior(in_shape, shape, **UNLIMITED)
    h = 30 * torch.randn(5, *in_shape)
    out = q_of.linear(h if q_of.is_map else h.flatten(1))
    mean, log_variance = (part.reshape(5, *shape) for part in out.chunk(2, 1))
    assert torch.equal(q_of(h).loc, mean)
    assert torch.equal(q_of(h).log_scale, 0.5 * log_variance)
    within = posterior(in_shape, shape)
    within.load_state_dict(q_of.state_dict())
    expected = limited(0.5 * log_variance, -10, 3)
    torch.testing.assert_close(within(h).log_scale.double(), expected, atol=2e-6, rtol=0)
    small = 0.05 * h
    assert torch.equal(within(small).log_scale, q_of(small).log_scale)


def test_features_that_ran_away_have_no_exponential_rate():
    features = torch.full((2, 8), 60.0)
    rates = []
    for options in (UNLIMITED, {}):
        torch.manual_seed(0)
        q_of = posterior(shape=(40,), **options)
        rate = kl_divergence(q_of(features), UnitNormal(torch.zeros(40)))
        rate.sum().backward()
        rates.append((rate[0].item(), q_of.linear.weight.grad))
    mean = q_of(features).loc[0].detach()
    assert rates[0][0] > 1e8
    assert rates[1][0] < float(mean.square().sum()) / 2 + 40 * (math.exp(6) / 2 + 10)
    assert bool((rates[1][1].norm(dim=1) > 0).all()), "no dimension is stuck"


@pytest.mark.parametrize(("version", "recovers"), [("vaezoo/v1", False), ("vaezoo/v2", True)])
def test_training_recovers_from_a_huge_first_step(version, recovers, spec):
    loaded = load_spec(spec(spec=version, train={"optimizer": {"type": "adam", "lr": 5.0}}))
    _, loader, (task,) = prepare_training(loaded, CPU)
    (phase,) = task.phases()
    optimizer = PhaseOptimizer(phase, task=task, config=loaded.train, total_steps=8)
    batch = loader.first(128)
    rates = [float(optimizer.step(batch, 128, False)["rate"].mean()) for _ in range(8)]
    assert (max(rates) < 1e8) is recovers
    assert (rates[-1] < 1e4) is recovers  # else it is NaN


def test_the_scales_of_a_mixture_prior_have_limits():
    wiring = PriorWiring(data=DataSpec((4,)), train_size=100, space=Space((2,)))
    for options, expected in (
        ({}, lambda v: limited(v, -5, 20)),
        (UNLIMITED, lambda v: v.double()),
    ):
        prior = Mixture(wiring, components=len(NETWORK_OUTPUTS), **options)
        log_scale = NETWORK_OUTPUTS[:, None].expand(-1, 2)
        prior.log_scale.data.copy_(log_scale)
        torch.testing.assert_close(
            prior(None, None).log_scale.double(), expected(log_scale), atol=2e-6, rtol=0
        )


@pytest.mark.parametrize(
    ("likelihood", "minimum", "maximum", "shift"),
    [
        (NormalLikelihood(REAL, scale="learned"), -6, 20, 0),
        (NormalLikelihood(REAL, scale="predicted"), -6, 20, 0),
        (LaplaceLikelihood(REAL), -6, 20, 0),
        (MixtureNormalLikelihood(REAL, components=1), -6, 20, 0),
        (DiscretizedLogisticLikelihood(UNIT), -7, 4, -2),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, torch.nn.Module) else str(value),
)
def test_the_scales_of_likelihoods_have_limits(likelihood, minimum, maximum, shift):
    x = torch.tensor([[0.2]])
    for value in NETWORK_OUTPUTS.tolist():
        v = torch.tensor(value, requires_grad=True)
        if likelihood.parameter_shape == (1,):
            likelihood.log_scale = torch.nn.Parameter(v.detach())
            px, v = likelihood(torch.zeros(1, 1), {}), likelihood.log_scale
        else:
            h = torch.zeros(likelihood.parameter_shape)
            px = likelihood(torch.cat([h[:-1], v[None]])[None], {})
        log_p = px.log_prob(x)
        (slope,) = torch.autograd.grad(log_p.sum(), v)
        assert bool(log_p.isfinite()) and bool(slope.isfinite()) and bool(slope != 0)
        base = getattr(px, "base_dist", px)
        base = getattr(base, "component_distribution", base)
        log_scale = base.log_scale if hasattr(base, "log_scale") else base.scale.log()
        expected = limited(torch.tensor(value + shift), minimum, maximum)
        assert log_scale.item() == pytest.approx(expected.item(), abs=1e-5)


def test_likelihoods_without_a_maximum_clip_as_before():
    h = NETWORK_OUTPUTS[:, None].expand(-1, 2)
    log_scale = NETWORK_OUTPUTS
    predicted = NormalLikelihood(REAL, scale="predicted", maximum=None)(h, {}).base_dist
    softly = (-6 + torch.nn.functional.softplus(log_scale + 6)).exp()
    assert torch.equal(predicted.scale[:, 0], softly)
    logistic = DiscretizedLogisticLikelihood(UNIT, maximum=None)(h, {}).base_dist
    assert torch.equal(logistic.log_scale[:, 0], (log_scale - 2).clamp(min=-7))
    learned = (NormalLikelihood(REAL, maximum=None), LaplaceLikelihood(REAL, **UNLIMITED))
    fixed = NormalLikelihood(REAL, scale=1e-4, minimum=25.0)  # which limits nothing
    for likelihood in (*learned, fixed):
        before = torch.tensor(-9.0)
        likelihood.log_scale.data.copy_(before)
        assert torch.equal(likelihood(h[:1, :1], {}).base_dist.scale[0, 0], before.exp())
