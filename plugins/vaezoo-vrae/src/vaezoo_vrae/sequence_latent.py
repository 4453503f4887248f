"""One latent variable z0 for the whole sequence; every step is conditioned on it.

Shapes: K samples, B examples, D latent dimensions of z0, E dimensions of the context.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

import vaezoo


class SequenceLatent(nn.Module):
    """q(z0|x) from the encoder's last states, and p(z0); or no z0.

    The result is the sequence code ``[z0, context]``, which conditions every step. It has D + E
    dimensions, either of which may be 0.

    Args:
        wiring: of the latents that it belongs to; its ``context_dim`` is E.
        latent_dim: D; 0 for no z0.
        name: the name of z0.
    """

    def __init__(self, wiring: vaezoo.LatentsWiring, latent_dim: int, name: str = "z") -> None:
        super().__init__()
        feature_shapes = wiring.feature_shapes
        self.spaces: tuple[vaezoo.Space, ...] = ()
        self.posterior: vaezoo.Posterior | None = None
        self.prior: vaezoo.Prior | None = None
        if latent_dim:
            if len(feature_shapes[-1]) != 1:
                raise ValueError(
                    "a latent variable for the whole sequence needs an encoder with a recurrent "
                    "network: set its cell to gru, lstm or rnn"
                )
            space = replace(wiring.space, shape=(latent_dim,), name=name)
            self.posterior = wiring.posterior(feature_shapes[-1], space)
            self.prior = wiring.prior(space)
            self.spaces = (space,)
        self.latent_dim, self.code_dim = latent_dim, latent_dim + wiring.context_dim

    def infer(self, inference: vaezoo.Inference) -> tuple[tuple[vaezoo.Site, ...], Tensor]:
        """Draws K samples of q(z0|x): the site, if any, and sequence codes ``[K, B, D + E]``."""
        features, context, k = inference.features, inference.prior_context, inference.k
        if self.posterior is None or self.prior is None:
            empty = features[0].new_zeros(k, len(features[0]), 0, dtype=torch.float32)
            return (), self._concat_context(empty, context)
        q = self.posterior(features[-1].float())
        z = q.rsample(torch.Size((k,)))
        site = vaezoo.Site(self.spaces[0].name, z, q, inference.p(self.prior))
        return (site,), self._concat_context(z, context)

    def generate(self, generation: vaezoo.Generation) -> Tensor:
        """Sequence codes with z0 from the prior, ``[n, D + E]``."""
        if self.prior is None:
            z = torch.zeros(generation.n, 0, device=generation.model.device)
        else:
            z = generation.sample(self.prior)
        return self.concat_context(z, generation.prior_context)

    def concat_context(self, z: Tensor, context: Tensor | None) -> Tensor:
        """Sequence codes ``[n, D + E]`` for latent vectors z0 ``[n, D]``."""
        return self._concat_context(z[None], context)[0]

    @staticmethod
    def _concat_context(z: Tensor, context: Tensor | None) -> Tensor:
        if context is None:
            return z
        # context: [B, E], expanded to [K, B, E]
        return torch.cat([z, context.float().expand(len(z), *context.shape)], -1)
