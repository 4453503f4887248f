"""Implicit posteriors, known only by their samples: a critic takes the place of the rate."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated

import torch
from annotated_types import Gt
from torch import Tensor, nn
from torch.distributions import Distribution

import vaezoo
from vaezoo.distributions import Implicit
from vaezoo.nn import Activation, mlp

Width = Annotated[int, Gt(0)]


class Deterministic(vaezoo.Posterior):
    """A point z for each x, as in a plain autoencoder.

    It has no density, so there is no ELBO to select a checkpoint by: set ``select: distortion`` or
    ``last``.
    """

    def __init__(self, in_features: int, latent_dim: int, /) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, latent_dim)

    def forward(self, h: Tensor) -> Distribution:
        """From ``[N, in_features]`` to points ``[N, latent_dim]``."""
        return Implicit(self.linear(h))


class Universal(vaezoo.Posterior):
    """A network of features and noise, which can represent any q(z|x).

    From Makhzani et al. 2016, section 2. Its mean is unknown; one sample is returned in its place.
    It has no density, so there is no ELBO to select a checkpoint by: set ``select: distortion`` or
    ``last``.

    Args:
        noise_dim: the dimension of the standard normal noise.
        hidden: the width of each layer over features and noise.
        activation: the activation after each layer.
    """

    def __init__(
        self,
        in_features: int,
        latent_dim: int,
        /,
        *,
        noise_dim: Annotated[int, Gt(0)] = 16,
        hidden: Sequence[Width] = (256,),
        activation: Activation = "relu",
    ) -> None:
        super().__init__()
        self.noise_dim = noise_dim
        body = mlp(in_features + noise_dim, hidden, activation_name=activation)
        width = hidden[-1] if hidden else in_features + noise_dim
        self.net = nn.Sequential(body, nn.Linear(width, latent_dim))

    def forward(self, h: Tensor) -> Distribution:
        """From ``[N, in_features]`` to a distribution that draws new noise for each sample.

        Its batch shape is ``[N]`` and its event shape ``[latent_dim]``.
        """
        return Implicit(self._sample(h, torch.Size()), partial(self._sample, h))

    def _sample(self, h: Tensor, sample_shape: torch.Size) -> Tensor:
        """Samples ``[*sample_shape, N, latent_dim]``."""
        noise = torch.randn(*sample_shape, len(h), self.noise_dim, dtype=h.dtype, device=h.device)
        h = h.expand(*sample_shape, *h.shape)  # [*sample_shape, N, in_features]
        return self.net(torch.cat([h, noise], -1))
