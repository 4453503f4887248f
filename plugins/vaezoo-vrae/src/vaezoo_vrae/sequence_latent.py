"""A latent variable for the whole sequence: z0, which stands above all steps.

Shapes: K samples, B examples, D dimensions of z0, E of the context.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

import vaezoo


class SequenceLatent(nn.Module):
    """q(z0|x) from the encoder's summary and p(z0), or nothing; beside it the context. Both reach every step.

    Args:
        feature_shapes: of the encoder.
        width: D; 0 for none.
        posterior, prior: the factories that latents are given.
        context_dim: E, 0 where there is none.
    """

    def __init__(
        self,
        feature_shapes: tuple[tuple[int, ...], ...],
        width: int,
        posterior: Callable[[int, int], vaezoo.Posterior],
        prior: Callable[[int, int], vaezoo.Prior],
        context_dim: int,
    ) -> None:
        super().__init__()
        self.posterior: vaezoo.Posterior | None = None
        self.prior: vaezoo.Prior | None = None
        if width:
            if len(feature_shapes[-1]) != 1:
                raise ValueError("a latent variable of the whole sequence needs an encoder with a recurrent network")
            self.posterior, self.prior = posterior(feature_shapes[-1][0], width), prior(width, context_dim)
        self.latent_width, self.width = width, width + context_dim

    def infer(
        self, features: tuple[Tensor, ...], context: Tensor | None, k: int
    ) -> tuple[tuple[vaezoo.Site, ...], Tensor]:
        """Its site, if any, and what stands above all steps, ``[K, B, D + E]``."""
        n = len(features[0])
        if self.posterior is None or self.prior is None:
            return (), self._joined(features[0].new_zeros(k, n, 0, dtype=torch.float32), context)
        q = self.posterior(features[-1].float())
        z = q.rsample(torch.Size((k,)))
        return (vaezoo.Site(z, q, self.prior(self._seen(context))),), self._joined(z, context)

    def generate(self, n: int, context: Tensor | None, device: torch.device) -> Tensor:
        """The same with z0 from the prior, ``[n, D + E]``."""
        if self.prior is None:
            z = torch.zeros(n, 0, device=device)
        else:
            p = self.prior(self._seen(context))
            z = p.sample() if p.batch_shape else p.sample(torch.Size((n,)))
        return self.joined(z, context)

    def joined(self, z: Tensor, context: Tensor | None) -> Tensor:
        """A chosen z0 ``[n, D]`` with the context beside it."""
        return self._joined(z[None], context)[0]

    def _seen(self, context: Tensor | None) -> Tensor | None:
        return context if self.prior is not None and self.prior.conditional else None

    @staticmethod
    def _joined(z: Tensor, context: Tensor | None) -> Tensor:
        if context is None:
            return z
        return torch.cat([z, context.float().expand(len(z), *context.shape)], -1)
