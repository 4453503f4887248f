"""The von Mises-Fisher distribution."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Distribution, register_kl

from vaezoo_spheres.uniform import UniformSphere, log_area, turn_to

_NODES = 512


class VonMisesFisher(Distribution):
    """The von Mises-Fisher distribution (Davidson et al. 2018), with reparameterised samples.

    The angle to the mean direction has a density on an interval; its normalising constant and its
    inverse distribution function are computed by quadrature, with gradients to ``concentration``.

    Args:
        loc: the mean direction, of norm 1, ``[*, m]``.
        concentration: above 0, ``[*]``.
    """

    arg_constraints: dict[str, Any] = {}
    has_rsample = True

    def __init__(self, loc: Tensor, concentration: Tensor) -> None:
        self.loc, self.concentration, dims = loc, concentration, loc.shape[-1]
        super().__init__(loc.shape[:-1], loc.shape[-1:], validate_args=False)
        # beyond this angle the density is negligible
        largest = (math.sqrt(dims) + 7) * concentration.detach().rsqrt()
        self.width = largest.clamp(max=math.pi) / _NODES  # [*]
        nodes = torch.arange(_NODES, device=loc.device) + 0.5
        self.angles = nodes * self.width[..., None]  # [*, nodes]
        log_density = concentration[..., None] * _cosine_less_one(self.angles)
        log_density = log_density + (dims - 2) * self.angles.sin().log()
        log_mass = log_density + self.width.log()[..., None]
        self.log_norm = log_mass.logsumexp(-1)  # [*]
        self.mass = (log_mass - self.log_norm[..., None]).exp()

    @property
    def mean(self) -> Tensor:
        """The mean direction, which lies on the sphere, ``[*, m]``."""
        return self.loc

    @property
    def mode(self) -> Tensor:
        """The mean direction, ``[*, m]``."""
        return self.loc

    def tempered(self, temperature: float) -> VonMisesFisher:
        """The distribution with its concentration divided by ``temperature``."""
        return VonMisesFisher(self.loc, self.concentration / temperature)

    def log_prob(self, value: Tensor) -> Tensor:
        """The log-density on the sphere at vectors ``[*, m]`` of norm 1, in nats, ``[*]``."""
        # the cosine less 1, which a difference of numbers near 1 would round
        cosine_less_one = -0.5 * (value - self.loc).square().sum(-1)
        log_norm = self.log_norm + log_area(self.loc.shape[-1] - 1)
        return self.concentration * cosine_less_one - log_norm

    def rsample(
        self,
        sample_shape: torch.Size = torch.Size(),  # noqa: B008
    ) -> Tensor:
        """Samples ``[*sample_shape, *, m]``."""
        loc = self.loc.expand(*sample_shape, *self.loc.shape)  # [*sample_shape, *, m]
        angle = self._sample_angle(loc.shape[:-1])[..., None]
        tangent = F.normalize(torch.randn_like(loc[..., 1:]), dim=-1)
        north = torch.cat([angle.cos(), angle.sin() * tangent], -1)  # around (1, 0, ..., 0)
        return turn_to(loc, north)

    def _sample_angle(self, shape: torch.Size) -> Tensor:
        """Angles to the mean direction, by the inverse distribution function, ``[*shape]``."""
        mass = self.mass.expand(*shape, _NODES)
        upper = mass.cumsum(-1)
        u = torch.rand(shape, device=mass.device)[..., None]
        index = torch.searchsorted(upper.detach(), u * upper[..., -1:].detach())
        index = index.clamp(max=_NODES - 1)
        inside = (u - (upper - mass).gather(-1, index)) / mass.gather(-1, index)
        return ((index + inside.clamp(0, 1)) * self.width[..., None]).squeeze(-1)


@register_kl(VonMisesFisher, UniformSphere)
def _kl(q: VonMisesFisher, p: UniformSphere) -> Tensor:
    dims = q.loc.shape[-1]
    values = _cosine_less_one(q.angles)  # [*, nodes]
    # the gradient of the mean is that of a difference from it, which cancels less
    mean = (q.mass * values).sum(-1).detach()
    mean = mean + (q.mass * (values - mean[..., None])).sum(-1)
    return q.concentration * mean - q.log_norm + (log_area(dims) - log_area(dims - 1))


def _cosine_less_one(angle: Tensor) -> Tensor:
    """cos(angle) - 1 without cancellation."""
    return -2 * (0.5 * angle).sin().square()
