"""The power spherical distribution."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Dirichlet, Distribution, register_kl

from vaezoo_spheres.uniform import UniformSphere, log_area, turn_to

_LEAST = 5e-7
"""How far (1 + cosine) / 2 stays from 0, where gradients are not finite."""
_TINY = 1e-30
"""How far (1 - cosine) / 2 of a sample stays from 0, likewise."""


class PowerSpherical(Distribution):
    """The density is proportional to (1 + loc . z)^concentration (De Cao & Aziz 2020, eq. 7).

    It is like the von Mises-Fisher distribution, with closed forms: (1 + loc . z) / 2 has a beta
    distribution, whose samples torch differentiates. Its normalising constant and entropy are
    computed in double precision.

    Args:
        loc: the mean direction, of norm 1, ``[*, m]``, m at least 2.
        concentration: above 0, ``[*]``.
    """

    arg_constraints: dict[str, Any] = {}
    has_rsample = True

    def __init__(self, loc: Tensor, concentration: Tensor) -> None:
        self.loc, self.concentration = loc, concentration
        self.beta = 0.5 * (loc.shape[-1] - 1)
        self.alpha = self.beta + concentration  # [*]
        super().__init__(loc.shape[:-1], loc.shape[-1:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """The mean direction, which lies on the sphere, ``[*, m]``."""
        return self.loc

    @property
    def mode(self) -> Tensor:
        """The mean direction, ``[*, m]``."""
        return self.loc

    @property
    def log_norm(self) -> Tensor:
        """The log of the integral of ((1 + loc . z) / 2)^concentration, ``[*]``."""
        # a difference of large numbers
        alpha = self.concentration.double() + self.beta
        difference = torch.lgamma(alpha) - torch.lgamma(alpha + self.beta)
        constant = self.beta * math.log(4 * math.pi)
        return (constant + difference).to(self.concentration.dtype)

    def tempered(self, temperature: float) -> PowerSpherical:
        """The distribution with its concentration divided by ``temperature``."""
        return PowerSpherical(self.loc, self.concentration / temperature)

    def log_prob(self, value: Tensor) -> Tensor:
        """The log-density on the sphere at vectors ``[*, m]`` of norm 1, in nats, ``[*]``."""
        # (1 - cosine) / 2, which a difference of numbers near 1 would round
        share = (0.25 * (value - self.loc).square().sum(-1)).clamp_max(1 - _LEAST)
        return self.concentration * torch.log1p(-share) - self.log_norm

    def entropy(self) -> Tensor:
        """The entropy in nats, ``[*]`` (De Cao & Aziz 2020, eq. 20)."""
        alpha = self.concentration.double() + self.beta
        difference = torch.digamma(alpha) - torch.digamma(alpha + self.beta)
        return self.log_norm - self.concentration * difference.to(self.concentration.dtype)

    def rsample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:  # noqa: B008
        """Samples ``[*sample_shape, *, m]``."""
        loc = self.loc.expand(*sample_shape, *self.loc.shape)  # [*sample_shape, *, m]
        both = torch.stack([self.alpha, torch.full_like(self.alpha, self.beta)], -1)
        # of (1 + cosine) / 2 and (1 - cosine) / 2, of which the second is small
        shares = Dirichlet(both, validate_args=False).rsample(torch.Size(sample_shape))
        share = shares[..., 1:].clamp(_TINY, 1 - _LEAST)
        sine = 2 * (share * (1 - share)).sqrt()
        tangent = F.normalize(torch.randn_like(loc[..., 1:]), dim=-1)
        return turn_to(loc, torch.cat([1 - 2 * share, sine * tangent], -1))


@register_kl(PowerSpherical, UniformSphere)
def _kl(q: PowerSpherical, p: UniformSphere) -> Tensor:
    return log_area(q.loc.shape[-1]) - q.entropy()
