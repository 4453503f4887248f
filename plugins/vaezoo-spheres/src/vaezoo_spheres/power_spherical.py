"""The power spherical distribution."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Beta, Distribution, register_kl

from vaezoo_spheres.uniform import UniformSphere, log_area, turn_to

_LEAST = 1e-6
"""How far the cosine of a sample stays from -1 and 1, where gradients are not finite."""


class PowerSpherical(Distribution):
    """The density is proportional to (1 + loc . z)^concentration (De Cao & Aziz 2020, eq. 7).

    It is like the von Mises-Fisher distribution, with closed forms: (1 + loc . z) / 2 has a beta
    distribution, whose samples torch differentiates.

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
        """The log of the integral of (1 + loc . z)^concentration, ``[*]``."""
        total = self.alpha + self.beta
        return (
            total * math.log(2)
            + self.beta * math.log(math.pi)
            + torch.lgamma(self.alpha)
            - torch.lgamma(total)
        )

    def tempered(self, temperature: float) -> PowerSpherical:
        """The distribution with its concentration divided by ``temperature``."""
        return PowerSpherical(self.loc, self.concentration / temperature)

    def log_prob(self, value: Tensor) -> Tensor:
        """The log-density on the sphere at vectors ``[*, m]`` of norm 1, in nats, ``[*]``."""
        cosine = (self.loc * value).sum(-1).clamp_min(_LEAST - 1)
        return self.concentration * torch.log1p(cosine) - self.log_norm

    def entropy(self) -> Tensor:
        """The entropy in nats, ``[*]`` (De Cao & Aziz 2020, eq. 20)."""
        digamma = torch.digamma(self.alpha) - torch.digamma(self.alpha + self.beta)
        return self.log_norm - self.concentration * (math.log(2) + digamma)

    def rsample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:  # noqa: B008
        """Samples ``[*sample_shape, *, m]``."""
        loc = self.loc.expand(*sample_shape, *self.loc.shape)  # [*sample_shape, *, m]
        beta = torch.full_like(self.alpha, self.beta)
        share = Beta(self.alpha, beta, validate_args=False).rsample(torch.Size(sample_shape))
        cosine = (2 * share - 1).clamp(_LEAST - 1, 1 - _LEAST)[..., None]
        tangent = F.normalize(torch.randn_like(loc[..., 1:]), dim=-1)
        sine = (1 - cosine.square()).sqrt()
        return turn_to(loc, torch.cat([cosine, sine * tangent], -1))


@register_kl(PowerSpherical, UniformSphere)
def _kl(q: PowerSpherical, p: UniformSphere) -> Tensor:
    return log_area(q.loc.shape[-1]) - q.entropy()
