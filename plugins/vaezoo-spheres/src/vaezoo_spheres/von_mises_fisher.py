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
        log_density = concentration[..., None] * (self.angles.cos() - 1)
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
        cosine = (self.loc * value).sum(-1)
        log_norm = self.log_norm + log_area(self.loc.shape[-1] - 1)
        return self.concentration * (cosine - 1) - log_norm

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
    mean_cosine = (q.mass * q.angles.cos()).sum(-1)
    log_density = q.concentration * (mean_cosine - 1) - q.log_norm - log_area(dims - 1)
    return log_density + log_area(dims)
