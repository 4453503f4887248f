"""The uniform distribution on a sphere."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Distribution


def log_area(dims: int) -> float:
    """The log of the area of the unit sphere in ``dims`` dimensions."""
    return math.log(2) + 0.5 * dims * math.log(math.pi) - math.lgamma(0.5 * dims)


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
        sample_shape: torch.Size = torch.Size(),  # noqa: B008
    ) -> Tensor:
        """Samples ``[*sample_shape, m]``."""
        zeros = self.zero.expand(*sample_shape, -1)  # [*sample_shape, m]
        return F.normalize(torch.randn_like(zeros), dim=-1)

    def log_prob(self, value: Tensor) -> Tensor:
        """Minus the log of the sphere's area, for vectors ``[*, m]``, in nats, ``[*]``."""
        return value.new_full(value.shape[:-1], -log_area(value.shape[-1]))


def turn_to(loc: Tensor, north: Tensor) -> Tensor:
    """Vectors around (1, 0, ..., 0) reflected to vectors around ``loc``, all ``[*, m]``."""
    first = F.one_hot(torch.zeros((), dtype=torch.long, device=loc.device), loc.shape[-1])
    axis = F.normalize(first - loc, dim=-1)
    return north - 2 * (axis * north).sum(-1, keepdim=True) * axis
