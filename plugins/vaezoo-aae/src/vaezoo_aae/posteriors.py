"""Posteriors that are known by their samples alone, for which a critic stands in for the rate."""

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
    """A point z for each x, as in a plain autoencoder. It has no density: say ``select: distortion`` or ``last``."""

    def __init__(self, in_features: int, latent_dim: int, /) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, latent_dim)

    def forward(self, h: Tensor) -> Distribution:
        """From ``[N, in_features]`` to points ``[N]`` of ``[latent_dim]``."""
        return Implicit(self.linear(h))


class Universal(vaezoo.Posterior):
    """A network fed with features and noise, which can become any q(z|x) (Makhzani et al. 2016, section 2).

    Its mean is not known: where one is asked for, a sample stands for it. It has no density: say ``select:
    distortion`` or ``last``.

    Args:
        noise_dim: the dimensions of the standard normal noise.
        hidden: the width of each layer over features and noise.
        activation: what follows each layer.
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
        self.net = nn.Sequential(body, nn.Linear(hidden[-1] if hidden else in_features + noise_dim, latent_dim))

    def forward(self, h: Tensor) -> Distribution:
        """From ``[N, in_features]`` to a distribution ``[N]`` over ``[latent_dim]`` that draws fresh noise."""
        return Implicit(self._draw(h, torch.Size()), partial(self._draw, h))

    def _draw(self, h: Tensor, sample_shape: torch.Size) -> Tensor:
        """Samples ``[*sample_shape, N, latent_dim]``."""
        noise = torch.randn(*sample_shape, len(h), self.noise_dim, dtype=h.dtype, device=h.device)
        return self.net(torch.cat([h.expand(*sample_shape, *h.shape), noise], -1))
