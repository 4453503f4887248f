"""Posteriors, priors, and where latent variables sit."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from vaezoo.data.dataspec import Shape
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
        q = self.posterior(features[-1].flatten(1).float())
        z = q.rsample(torch.Size((k,)))
        return (Site(z, q, self.prior(context)),), z

    def posterior_mean(self, features: tuple[Tensor, ...], context: Tensor | None, mask: Tensor | None) -> Tensor:
        """The mean of q(z|x), ``[B, D]``; nothing is drawn."""
        return self.posterior(features[-1].flatten(1).float()).mean

    def generate(self, n: int, context: Tensor | None, generation: Generation | None = None) -> Tensor:
        """``[n, D]`` from the prior; a conditional prior has one distribution per context already."""
        p = self.prior(context)
        return p.sample() if p.batch_shape else p.sample(torch.Size((n,)))

    def code(self, z: Tensor, context: Tensor | None = None, generation: Generation | None = None) -> Tensor:
        """The latent vector is the code."""
        return z
