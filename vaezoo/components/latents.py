"""Latents with a single latent variable.

Shapes: K samples of the posterior, B examples, D latent dimensions, H and W height and width of a
feature map.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from vaezoo.model.latents import Latents, LatentsWiring
from vaezoo.model.passes import Generation, Inference
from vaezoo.model.trace import Site


class Single(Latents):
    """One latent variable, inferred from the coarsest features.

    Args:
        maps: whether it is a map: ``latent_dim`` numbers at each position of the encoder's
            coarsest feature map, as in the autoencoders of latent diffusion. Otherwise it is a
            vector of ``latent_dim`` numbers.
    """

    def __init__(self, wiring: LatentsWiring, /, *, maps: bool = False) -> None:
        super().__init__()
        in_shape = wiring.feature_shapes[-1]
        self.space = wiring.space
        if maps and len(in_shape) != 3:
            raise ValueError(
                f"maps need an encoder whose last feature is a map, not of shape {in_shape}; "
                "for conv set hidden: 0"
            )
        if maps:
            self.space = replace(self.space, shape=(wiring.latent_dim, *in_shape[1:]))
        else:
            in_shape = (torch.Size(in_shape).numel(),)
        self.maps, self.spaces = maps, (self.space,)
        self.posterior = wiring.posterior(in_shape, self.space)
        self.prior = wiring.prior(self.space)

    def infer(self, inference: Inference) -> tuple[tuple[Site, ...], Tensor]:
        """One site with ``z`` ``[K, B, *space.shape]``, which is also the code."""
        q = self.posterior(self._features(inference))
        z = inference.fixed.get(self.space.name)
        if z is None:
            z = q.rsample(torch.Size((inference.k,)))
        return (Site(self.space.name, z, q, inference.p(self.prior)),), z

    def _features(self, inference: Inference) -> Tensor:
        """The coarsest features: a map ``[B, C, H, W]``, or flattened to ``[B, in_features]``."""
        features = inference.features[-1]
        return (features if self.maps else features.flatten(1)).float()

    def posterior_mean(self, inference: Inference) -> Tensor:
        """The mean of q(z|x), ``[B, D]``, without sampling; flattened if it is a map."""
        return self.posterior(self._features(inference)).mean.flatten(1)

    def generate(self, generation: Generation) -> Tensor:
        """Samples of the prior, ``[n, *space.shape]``."""
        return generation.sample(self.prior)

    def code(self, z: Tensor, generation: Generation) -> Tensor:
        """The latent vector is the code; a map is reshaped to ``[n, D, H, W]``."""
        return z.reshape(-1, *self.space.shape)
