"""Latents with a single latent vector.

Shapes: K samples of the posterior, B examples, D latent dimensions.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from vaezoo.data.dataspec import Shape
from vaezoo.distributions import sample_prior
from vaezoo.model.generation import Generation
from vaezoo.model.parts import Latents, Posterior, Prior
from vaezoo.model.trace import Site


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
        q = self.posterior(features[-1].flatten(1).float())  # features [B, in_features]
        z = q.rsample(torch.Size((k,)))
        return (Site(z, q, self.prior(context)),), z

    def posterior_mean(
        self, features: tuple[Tensor, ...], context: Tensor | None, mask: Tensor | None
    ) -> Tensor:
        """The mean of q(z|x), ``[B, D]``, without sampling."""
        return self.posterior(features[-1].flatten(1).float()).mean  # features [B, in_features]

    def generate(
        self, n: int, context: Tensor | None, generation: Generation | None = None
    ) -> Tensor:
        """Samples of the prior, ``[n, D]``."""
        p = self.prior(context)
        # a conditional prior has batch shape [n], one distribution per context
        return sample_prior(p, n)

    def code(
        self, z: Tensor, context: Tensor | None = None, generation: Generation | None = None
    ) -> Tensor:
        """Returns ``z``: the latent vector is the code."""
        return z
