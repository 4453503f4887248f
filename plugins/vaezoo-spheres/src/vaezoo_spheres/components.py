"""Posteriors and the prior of latent vectors of norm 1."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Distribution

import vaezoo
from vaezoo.distributions import LogScaleLimits
from vaezoo_spheres.power_spherical import PowerSpherical
from vaezoo_spheres.uniform import UniformSphere
from vaezoo_spheres.von_mises_fisher import VonMisesFisher

_MAXIMUM = 1e6
"""The largest concentration. Above it, densities lose their precision in fp32."""


class _SpherePosterior(vaezoo.Posterior):
    """One linear layer computes the direction and the concentration.

    The concentration is softplus + 1, so it is above 1. Its logarithm is limited by an arctangent
    that approaches that of ``_MAXIMUM``; to about a fifth of it, it is as computed.
    """

    support = "sphere"

    def __init__(self, wiring: vaezoo.PosteriorWiring, /) -> None:
        super().__init__()
        shape = wiring.space.shape
        if len(shape) != 1 or shape[0] < 2:
            raise ValueError(f"needs latent vectors of at least 2 numbers, not of shape {shape}")
        self.in_dims = len(wiring.in_shape)
        self.linear = nn.Linear(math.prod(wiring.in_shape), shape[0] + 1)
        self.limits = LogScaleLimits(maximum=math.log(_MAXIMUM))

    def _heads(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """Directions ``[*, m]`` and concentrations ``[*]`` of features ``[*, *in_shape]``."""
        direction, scale = self.linear(h.flatten(-self.in_dims)).tensor_split((-1,), -1)
        concentration = F.softplus(scale).squeeze(-1) + 1
        log_scale = concentration.log()
        # by exactly 1 where the limit is far
        concentration = concentration * (self.limits(log_scale) - log_scale).exp()
        return F.normalize(direction, dim=-1), concentration


class VonMisesFisherPosterior(_SpherePosterior):
    """A von Mises-Fisher distribution on the sphere (Davidson et al. 2018).

    ``latent_dim`` m is the number of coordinates: the sphere has m - 1 dimensions. The KL from the
    uniform prior is computed to the precision of a quadrature, in nats. The concentration is
    between 1 and 1e6.
    """

    def forward(self, h: Tensor) -> Distribution:
        """From ``[*, *in_shape]`` to distributions ``[*]`` on the sphere."""
        return VonMisesFisher(*self._heads(h))


class PowerSphericalPosterior(_SpherePosterior):
    """A power spherical distribution on the sphere (De Cao & Aziz 2020).

    ``latent_dim`` m is the number of coordinates: the sphere has m - 1 dimensions. The KL from the
    uniform prior has a closed form, in nats. The concentration is between 1 and 1e6.
    """

    def forward(self, h: Tensor) -> Distribution:
        """From ``[*, *in_shape]`` to distributions ``[*]`` on the sphere."""
        return PowerSpherical(*self._heads(h))


class UniformSpherePrior(vaezoo.Prior):
    """The uniform distribution on the sphere, in as many coordinates as ``latent_dim`` says."""

    supports = frozenset({"sphere"})

    def __init__(self, wiring: vaezoo.PriorWiring, /) -> None:
        super().__init__()
        self.register_buffer("zero", torch.zeros(wiring.space.shape), persistent=False)

    def forward(self, context: Tensor | None, model: vaezoo.GenerativeModel) -> Distribution:
        """One distribution ``[]`` for all examples."""
        return UniformSphere(self.get_buffer("zero"))
