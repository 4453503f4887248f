"""Posteriors, priors, and where latent variables sit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import torch
from annotated_types import Gt
from torch import Tensor, nn
from torch.distributions import Distribution

from vaezoo import distributions
from vaezoo.facts import Shape
from vaezoo.interfaces import Latents, Posterior, Prior
from vaezoo.trace import Loop, Site


class DiagonalNormal(Posterior):
    """A normal with independent dimensions; mean and log-variance from one linear layer (Kingma & Welling 2014)."""

    def __init__(self, in_features: int, latent_dim: int, /) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, 2 * latent_dim)

    def forward(self, h: Tensor) -> Distribution:
        """From ``[N, in_features]`` to a normal ``[N]`` over ``[latent_dim]``."""
        mean, log_variance = self.linear(h).chunk(2, -1)
        return distributions.DiagonalNormal(mean, 0.5 * log_variance)


class StandardNormal(Prior):
    """N(0, I)."""

    zero: Tensor

    def __init__(self, latent_dim: int, context_dim: int, /) -> None:
        super().__init__()
        self.register_buffer("zero", torch.zeros(latent_dim), persistent=False)

    def forward(self, h: Tensor | None) -> Distribution:
        """The same N(0, I) for every context."""
        return distributions.UnitNormal(self.zero)


class Mixture(Prior):
    """A mixture of diagonal normals with learned weights, means and scales. Its KL is estimated by sampling.

    Args:
        components: how many normals.
        spread: the standard deviation of the means before training.
    """

    def __init__(
        self,
        latent_dim: int,
        context_dim: int,
        /,
        *,
        components: Annotated[int, Gt(0)] = 10,
        spread: Annotated[float, Gt(0)] = 1.0,
    ) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(components))
        self.mean = nn.Parameter(spread * torch.randn(components, latent_dim))
        self.log_scale = nn.Parameter(torch.zeros(components, latent_dim))

    def forward(self, h: Tensor | None) -> Distribution:
        """The same mixture for every context."""
        return distributions.NormalMixture(self.logits, self.mean, self.log_scale)


class Single(Latents):
    """One latent vector, inferred from the coarsest features."""

    def __init__(
        self,
        feature_shapes: tuple[Shape, ...],
        latent_dim: int,
        posterior: Callable[[int, int], Posterior],
        prior: Callable[[int, int], Prior],
        context_dim: int,
        /,
    ) -> None:
        super().__init__()
        self.posterior = posterior(torch.Size(feature_shapes[-1]).numel(), latent_dim)
        self.prior = prior(latent_dim, context_dim)

    def infer(
        self, features: tuple[Tensor, ...], context: Tensor | None, mask: Tensor | None, k: int
    ) -> tuple[tuple[Site, ...], Tensor]:
        """One site with ``z`` ``[K, B, D]``, which is also the code."""
        q = self.posterior(features[-1].flatten(1).float())
        z = q.rsample(torch.Size((k,)))
        return (Site(z, q, self.prior(context)),), z

    def posterior_mean(self, features: tuple[Tensor, ...], context: Tensor | None, mask: Tensor | None) -> Tensor:
        """The mean of q(z|x), ``[B, D]``; nothing is drawn."""
        return self.posterior(features[-1].flatten(1).float()).mean

    def generate(self, n: int, context: Tensor | None, loop: Loop | None = None) -> Tensor:
        """``[n, D]`` from the prior; a conditional prior has one distribution per context already."""
        p = self.prior(context)
        return p.sample() if p.batch_shape else p.sample(torch.Size((n,)))

    def code(self, z: Tensor, context: Tensor | None = None, loop: Loop | None = None) -> Tensor:
        """The latent vector is the code."""
        return z
