"""Shared by all tests: one thread, and models whose log p(x) is known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.distributions import MultivariateNormal

from vaezoo.components.latents import Single, StandardNormal
from vaezoo.components.likelihoods import NormalLikelihood
from vaezoo.distributions import DiagonalNormal
from vaezoo.facts import DataSpec
from vaezoo.interfaces import Decoder, Encoder, Posterior
from vaezoo.model import Model

torch.set_num_threads(1)


class Identity(Encoder):
    def forward(self, x, mask=None):
        return (x,)


class LinearDecoder(Decoder):
    def __init__(self, loading, offset):
        super().__init__()
        self.loading, self.offset = nn.Parameter(loading), nn.Parameter(offset)

    def forward(self, code):
        return code @ self.loading.T + self.offset


class LinearPosterior(Posterior):
    """q(z|x) = N(Wx + c, s²): the exact posterior of a linear-Gaussian model for the right W, c, s."""

    def __init__(self, weight, offset, log_scale):
        super().__init__()
        self.weight, self.offset = nn.Parameter(weight), nn.Parameter(offset)
        self.log_scale = nn.Parameter(log_scale)

    def forward(self, h):
        mean = h @ self.weight.T + self.offset
        return DiagonalNormal(mean, self.log_scale.expand_as(mean))


class LinearGaussian:
    """p(z) = N(0, I), p(x|z) = N(Az + b, sigma²), with orthogonal columns of A so that the posterior is diagonal."""

    def __init__(self, data_dim=6, latent_dim=2, sigma=0.7, spoil=0.0):
        generator = torch.Generator().manual_seed(3)
        columns, _ = torch.linalg.qr(torch.randn(data_dim, latent_dim, generator=generator))
        self.a = columns * torch.tensor([1.5, 0.8])[:latent_dim]
        self.b = torch.randn(data_dim, generator=generator)
        self.sigma = sigma
        precision = torch.eye(latent_dim) + self.a.T @ self.a / sigma**2
        covariance = torch.linalg.inv(precision)
        weight = covariance @ self.a.T / sigma**2
        log_scale = 0.5 * covariance.diagonal().log()
        noise = spoil * torch.randn(weight.shape, generator=generator)
        posterior = LinearPosterior(weight + noise, -(weight + noise) @ self.b + spoil, log_scale + spoil)
        data = DataSpec((data_dim,), "real")
        self.model = Model(
            data,
            latent_dim,
            Identity(),
            Single(((data_dim,),), latent_dim, lambda *_: posterior, StandardNormal, 0),
            LinearDecoder(self.a.clone(), self.b.clone()),
            NormalLikelihood(data, scale=sigma),
            (latent_dim,),
        )
        marginal = self.a @ self.a.T + sigma**2 * torch.eye(data_dim)
        self.marginal = MultivariateNormal(self.b, marginal)

    def data(self, n=64, seed=1):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return self.marginal.sample((n,))

    def log_p(self, x):
        return self.marginal.log_prob(x)


@pytest.fixture
def exact():
    """A linear-Gaussian model whose posterior is exact."""
    return LinearGaussian()


@pytest.fixture
def inexact():
    """The same with a posterior that is off."""
    return LinearGaussian(spoil=0.25)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def standard_error(values):
    return float(values.std() / math.sqrt(len(values)))
