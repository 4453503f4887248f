"""The Hamiltonian posterior in a linear model with normal noise, whose p(x) is known.

Shapes: K samples, B examples, D latent dimensions.
"""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.distributions import MultivariateNormal, Normal
from vaezoo_flows.hamiltonian import Hamiltonian

import vaezoo
from vaezoo.distributions import DiagonalNormal, UnitNormal

SIGMA = 0.7
LOADING = torch.tensor([[0.9, 0.3], [-0.8, 0.5], [0.6, -0.4], [0.2, 0.3]])  # [D_x, D]


@pytest.fixture(autouse=True)
def one_seed():
    torch.manual_seed(0)


class PoorPosterior(nn.Module):
    """The exact posterior of the linear model, moved and widened by ``spoil``."""

    def __init__(self, spoil):
        super().__init__()
        precision = torch.eye(2) + LOADING.T @ LOADING / SIGMA**2
        covariance = torch.linalg.inv(precision)
        self.weight = nn.Parameter(covariance @ LOADING.T / SIGMA**2 + spoil)
        self.log_scale = nn.Parameter(-0.5 * precision.diagonal().log() + spoil)

    def forward(self, h):
        mean = h @ self.weight.T
        return DiagonalNormal(mean, self.log_scale.expand_as(mean))


def refined(steps, beta=1.0, spoil=0.25):
    """Latents whose posterior is refined by Hamiltonian dynamics."""
    wiring = vaezoo.LatentsWiring(
        data=vaezoo.DataSpec((4,)),
        train_size=1,
        feature_shapes=((4,),),
        space=vaezoo.Space((2,)),
        posterior=lambda in_shape, space: PoorPosterior(spoil),
        prior=lambda space: nn.Identity(),
    )
    return Hamiltonian(wiring, steps=steps, step_size=0.2, beta=beta)


def data(n):
    """Examples of the model, and their log p(x)."""
    marginal = LOADING @ LOADING.T + SIGMA**2 * torch.eye(4)
    p = MultivariateNormal(torch.zeros(4), marginal)
    x = p.sample((n,))
    return x, p.log_prob(x)


def inference(x, k=1):
    """What the latents get of a pass over examples."""

    def log_likelihood(z):
        return Normal(z @ LOADING.T, SIGMA).log_prob(x).sum(-1)

    prior = UnitNormal(torch.zeros(2))
    return SimpleNamespace(features=[x], k=k, p=lambda _: prior, log_likelihood=log_likelihood)


def log_weights(latents, x, k):
    """log p(x, z) - log q(z|x) of K samples, ``[K, B]``."""
    given = inference(x, k)
    (site,), z = latents.infer(given)
    return given.log_likelihood(z) - site.log_ratio


@pytest.mark.parametrize("beta", [1.0, 0.3])
def test_without_steps_it_is_the_posterior(beta):
    (site,), _ = refined(steps=0, beta=beta).infer(inference(data(8)[0], 5))
    torch.testing.assert_close(site.kl, site.q.log_prob(site.z) - site.p.log_prob(site.z))


def test_the_dynamics_are_reversible():
    latents, given = refined(steps=5), inference(data(8)[0])
    z, momentum = torch.randn(3, 8, 2), torch.randn(3, 8, 2)
    with torch.no_grad():
        forward = latents.flow(given, z, momentum)
        back = latents.flow(given, forward[0], -forward[1])
    assert not torch.allclose(forward[0], z, atol=0.1)
    torch.testing.assert_close(back[0], z, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(-back[1], momentum, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("beta", [1.0, 0.5])
def test_the_weights_are_unbiased_and_the_bound_is_below_log_p(beta):
    latents, (x, log_p) = refined(steps=3, beta=beta), data(12)
    with torch.no_grad():
        weights = log_weights(latents, x, 20_000)
    estimate = weights.logsumexp(0) - math.log(20_000)
    torch.testing.assert_close(estimate, log_p, atol=0.05, rtol=0)
    assert bool((weights.mean(0) < log_p).all())


def test_steps_tighten_the_bound_of_a_poor_posterior():
    x, _ = data(64)
    with torch.no_grad():
        bounds = [float(log_weights(refined(steps, spoil=0.5), x, 500).mean()) for steps in (0, 4)]
    assert bounds[1] > bounds[0] + 0.05


def test_the_gradient_within_a_pass_reaches_every_weight():
    latents = refined(steps=2)
    (-log_weights(latents, data(16)[0], 1).mean()).backward()
    assert all(bool(p.grad.any()) for p in latents.parameters())
