"""Latent vectors on a sphere: a von Mises-Fisher posterior and the uniform prior."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Distribution, register_kl

import vaezoo

_NODES = 512


def log_area(dims: int) -> float:
    """The log of the area of the unit sphere in ``dims`` dimensions."""
    return math.log(2) + 0.5 * dims * math.log(math.pi) - math.lgamma(0.5 * dims)


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
        sample_shape: torch.Size = torch.Size(),
    ) -> Tensor:
        """Samples ``[*sample_shape, *, m]``."""
        loc = self.loc.expand(*sample_shape, *self.loc.shape)  # [*sample_shape, *, m]
        angle = self._sample_angle(loc.shape[:-1])[..., None]
        tangent = F.normalize(torch.randn_like(loc[..., 1:]), dim=-1)
        north = torch.cat([angle.cos(), angle.sin() * tangent], -1)  # around (1, 0, ..., 0)
        first = F.one_hot(torch.zeros((), dtype=torch.long, device=loc.device), loc.shape[-1])
        axis = F.normalize(first - loc, dim=-1)  # reflects (1, 0, ..., 0) to loc
        return north - 2 * (axis * north).sum(-1, keepdim=True) * axis

    def _sample_angle(self, shape: torch.Size) -> Tensor:
        """Angles to the mean direction, by the inverse distribution function, ``[*shape]``."""
        mass = self.mass.expand(*shape, _NODES)
        upper = mass.cumsum(-1)
        u = torch.rand(shape, device=mass.device)[..., None]
        index = torch.searchsorted(upper.detach(), u * upper[..., -1:].detach())
        index = index.clamp(max=_NODES - 1)
        inside = (u - (upper - mass).gather(-1, index)) / mass.gather(-1, index)
        return ((index + inside.clamp(0, 1)) * self.width[..., None]).squeeze(-1)


class UniformSphere(Distribution):
    """The uniform distribution on a sphere.

    Args:
        zero: zeros, ``[m]``, of the desired dtype and device.
    """

    arg_constraints: dict[str, Any] = {}

    def __init__(self, zero: Tensor) -> None:
        self.zero = zero
        super().__init__(torch.Size(), zero.shape, validate_args=False)

    def tempered(self, temperature: float) -> UniformSphere:
        """The same distribution: no value is more probable than another."""
        return self

    def sample(
        self,
        sample_shape: torch.Size = torch.Size(),
    ) -> Tensor:
        """Samples ``[*sample_shape, m]``."""
        zeros = self.zero.expand(*sample_shape, -1)  # [*sample_shape, m]
        return F.normalize(torch.randn_like(zeros), dim=-1)

    def log_prob(self, value: Tensor) -> Tensor:
        """Minus the log of the sphere's area, for vectors ``[*, m]``, in nats, ``[*]``."""
        return value.new_full(value.shape[:-1], -log_area(value.shape[-1]))


@register_kl(VonMisesFisher, UniformSphere)
def _kl(q: VonMisesFisher, p: UniformSphere) -> Tensor:
    dims = q.loc.shape[-1]
    mean_cosine = (q.mass * q.angles.cos()).sum(-1)
    log_density = q.concentration * (mean_cosine - 1) - q.log_norm - log_area(dims - 1)
    return log_density + log_area(dims)


class VonMisesFisherPosterior(vaezoo.Posterior):
    """A von Mises-Fisher distribution; linear layers compute its direction and concentration."""

    support = "sphere"

    def __init__(self, wiring: vaezoo.PosteriorWiring, /) -> None:
        super().__init__()
        self.in_dims = len(wiring.in_shape)
        self.linear = nn.Linear(math.prod(wiring.in_shape), wiring.space.dimensions + 1)

    def forward(self, h: Tensor) -> Distribution:
        """From ``[*, *in_shape]`` to distributions ``[*]`` on the sphere."""
        direction, scale = self.linear(h.flatten(-self.in_dims)).tensor_split((-1,), -1)
        return VonMisesFisher(F.normalize(direction, dim=-1), F.softplus(scale).squeeze(-1) + 1)


class UniformSpherePrior(vaezoo.Prior):
    """The uniform distribution on the sphere."""

    supports = frozenset({"sphere"})

    def __init__(self, wiring: vaezoo.PriorWiring, /) -> None:
        super().__init__()
        self.register_buffer("zero", torch.zeros(wiring.space.shape), persistent=False)

    def forward(self, context: Tensor | None, model: vaezoo.GenerativeModel) -> Distribution:
        """One distribution ``[]`` for all examples."""
        return UniformSphere(self.get_buffer("zero"))
