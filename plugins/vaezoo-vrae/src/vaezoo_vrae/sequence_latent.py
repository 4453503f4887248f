"""One latent variable z0 for the whole sequence; every step is conditioned on it.

Shapes: K samples, B examples, D latent dimensions of z0, E dimensions of the context.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

import vaezoo
from vaezoo.distributions import sample_prior


class SequenceLatent(nn.Module):
    """q(z0|x) from the encoder's last states, and p(z0); or no z0.

    The result is the sequence code ``[z0, context]``, which conditions every step. It has D + E
    dimensions, either of which may be 0.

    Args:
        feature_shapes: shapes of the encoder's features of one example.
        latent_dim: D; 0 for no z0.
        posterior: factory of the posterior, from its number of input features and D.
        prior: factory of the prior, from D and E.
        context_dim: E; 0 without a context.
    """

    def __init__(
        self,
        feature_shapes: tuple[tuple[int, ...], ...],
        latent_dim: int,
        *,
        posterior: Callable[[int, int], vaezoo.Posterior],
        prior: Callable[[int, int], vaezoo.Prior],
        context_dim: int,
    ) -> None:
        super().__init__()
        self.posterior: vaezoo.Posterior | None = None
        self.prior: vaezoo.Prior | None = None
        if latent_dim:
            if len(feature_shapes[-1]) != 1:
                raise ValueError(
                    "a latent variable for the whole sequence needs an encoder with a recurrent "
                    "network: set its cell to gru, lstm or rnn"
                )
            self.posterior = posterior(feature_shapes[-1][0], latent_dim)
            self.prior = prior(latent_dim, context_dim)
        self.latent_dim, self.code_dim = latent_dim, latent_dim + context_dim

    def infer(
        self, features: tuple[Tensor, ...], context: Tensor | None, k: int
    ) -> tuple[tuple[vaezoo.Site, ...], Tensor]:
        """Draws k samples of q(z0|x): the site, if any, and sequence codes ``[K, B, D + E]``."""
        n = len(features[0])
        if self.posterior is None or self.prior is None:
            empty = features[0].new_zeros(k, n, 0, dtype=torch.float32)
            return (), self._concat_context(empty, context)
        q = self.posterior(features[-1].float())
        z = q.rsample(torch.Size((k,)))
        site = vaezoo.Site(z, q, self.prior(self._prior_context(context)))
        return (site,), self._concat_context(z, context)

    def generate(self, n: int, context: Tensor | None, device: torch.device) -> Tensor:
        """Sequence codes with z0 from the prior, ``[n, D + E]``."""
        if self.prior is None:
            z = torch.zeros(n, 0, device=device)
        else:
            p = self.prior(self._prior_context(context))
            z = sample_prior(p, n)
        return self.concat_context(z, context)

    def concat_context(self, z: Tensor, context: Tensor | None) -> Tensor:
        """Sequence codes ``[n, D + E]`` for latent vectors z0 ``[n, D]``."""
        return self._concat_context(z[None], context)[0]

    def _prior_context(self, context: Tensor | None) -> Tensor | None:
        return context if self.prior is not None and self.prior.conditional else None

    @staticmethod
    def _concat_context(z: Tensor, context: Tensor | None) -> Tensor:
        if context is None:
            return z
        # context: [B, E], expanded to [K, B, E]
        return torch.cat([z, context.float().expand(len(z), *context.shape)], -1)
