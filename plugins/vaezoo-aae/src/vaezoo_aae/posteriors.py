"""Implicit posteriors, known only by their samples: a critic takes the place of the rate."""

from __future__ import annotations

import math
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

    def __init__(self, wiring: vaezoo.PosteriorWiring, /) -> None:
        super().__init__()
        self.in_dims, self.shape = len(wiring.in_shape), wiring.space.shape
        self.linear = nn.Linear(math.prod(wiring.in_shape), wiring.space.dimensions)

    def forward(self, h: Tensor) -> Distribution:
        """From ``[*, *in_shape]`` to points ``[*, *space.shape]``."""
        points = self.linear(h.flatten(-self.in_dims)).unflatten(-1, self.shape)
        return Implicit(points, None, len(self.shape))


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
        wiring: vaezoo.PosteriorWiring,
        /,
        *,
        noise_dim: Annotated[int, Gt(0)] = 16,
        hidden: Sequence[Width] = (256,),
        activation: Activation = "relu",
    ) -> None:
        super().__init__()
        self.noise_dim = noise_dim
        self.in_dims, self.shape = len(wiring.in_shape), wiring.space.shape
        in_features = math.prod(wiring.in_shape)
        body = mlp(in_features + noise_dim, hidden, activation_name=activation)
        width = hidden[-1] if hidden else in_features + noise_dim
        self.net = nn.Sequential(body, nn.Linear(width, wiring.space.dimensions))

    def forward(self, h: Tensor) -> Distribution:
        """From ``[*, *in_shape]`` to a distribution that draws new noise for each sample.

        Its batch shape is ``[*]`` and its event shape ``space.shape``.
        """
        resample = partial(self._sample, h.flatten(-self.in_dims))  # h: [*, in_features]
        return Implicit(resample(torch.Size()), resample, len(self.shape))

    def _sample(self, h: Tensor, sample_shape: torch.Size) -> Tensor:
        """Samples ``[*sample_shape, *, *space.shape]``."""
        h = h.expand(*sample_shape, *h.shape)  # [*sample_shape, *, in_features]
        noise = torch.randn(*h.shape[:-1], self.noise_dim, dtype=h.dtype, device=h.device)
        return self.net(torch.cat([h, noise], -1)).unflatten(-1, self.shape)
