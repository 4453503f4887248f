"""Likelihoods of counts, and of numbers with hard limits.

Shapes: ``*`` the leading dimensions ``[K, B]`` or ``[B]``, ``*shape`` one example.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Distribution, Independent, NegativeBinomial, Poisson

import vaezoo

_LEAST_RATE = 1e-6
"""Added to rates and dispersions, so that no count is impossible."""
_LOG_SCALES = (-6.0, 20.0)
"""The limits of the logarithm of the scale of a truncated normal."""


class PoissonLikelihood(vaezoo.Likelihood):
    """A Poisson distribution of each count, with rates from the decoder."""

    supports = frozenset({"count"})

    def forward(self, h: Tensor, extras: Mapping[str, Tensor]) -> Distribution:
        """From ``[*, *shape]``; the rate is the softplus."""
        rate = F.softplus(h) + _LEAST_RATE
        return Independent(Poisson(rate, validate_args=False), self.event_dims)


class NegativeBinomialLikelihood(vaezoo.Likelihood):
    """A negative binomial distribution of each count: its variance is mean + mean² / r.

    The decoder gives the mean and the dispersion r of each count.
    """

    supports = frozenset({"count"})
    params_per_value = 2

    def forward(self, h: Tensor, extras: Mapping[str, Tensor]) -> Distribution:
        """From ``[*, *parameter_shape]``."""
        mean, dispersion = self.split_parameters(h).unbind(0)
        mean, dispersion = F.softplus(mean) + _LEAST_RATE, F.softplus(dispersion) + _LEAST_RATE
        logits = mean.log() - dispersion.log()
        count = NegativeBinomial(dispersion, logits=logits, validate_args=False)
        return Independent(count, self.event_dims)


class TruncatedNormal(Distribution):
    """A normal distribution between two limits.

    Args:
        loc, scale: of the normal before it is cut off, ``[*]``.
        low, high: the limits.
    """

    arg_constraints: dict[str, Any] = {}

    def __init__(self, loc: Tensor, scale: Tensor, low: float, high: float) -> None:
        self.loc, self.scale, self.low, self.high = loc, scale, low, high
        a, b = (low - loc) / scale, (high - loc) / scale
        # the mass on the side where log_ndtr keeps its digits
        is_right = a > 0
        near, far = torch.where(is_right, -b, a), torch.where(is_right, -a, b)
        self.start, self.end = near, far
        self.sign = torch.where(is_right, -1.0, 1.0)
        top, bottom = torch.special.log_ndtr(far), torch.special.log_ndtr(near)
        self.log_mass = top + torch.log1p(-(bottom - top).exp().clamp(max=1 - 1e-7))
        super().__init__(loc.shape, validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        """In nats, ``[*]``; minus infinity beyond the limits."""
        z = (value - self.loc) / self.scale
        log_p = -0.5 * z.square() - 0.5 * math.log(2 * math.pi) - self.scale.log() - self.log_mass
        inside = (value >= self.low) & (value <= self.high)
        return torch.where(inside, log_p, -math.inf)

    def sample(
        self,
        sample_shape: torch.Size | tuple[int, ...] = (),
    ) -> Tensor:
        """Samples, ``[*sample_shape, *]``, by the inverse of the distribution function."""
        shape = (*sample_shape, *self.loc.shape)
        # not by ndtr, which is 0 from -8.3 on
        low, high = (torch.special.log_ndtr(x.double()).exp() for x in (self.start, self.end))
        share = torch.rand(shape, device=self.loc.device, dtype=torch.float64)
        z = torch.special.ndtri(low + share * (high - low))
        return (self.loc + self.scale * self.sign * z.float()).clamp(self.low, self.high)

    @property
    def mode(self) -> Tensor:
        """The location, or the limit that is nearest to it, ``[*]``."""
        return self.loc.clamp(self.low, self.high)

    @property
    def mean(self) -> Tensor:
        """The expected value, ``[*]``."""
        a, b = (self.low - self.loc) / self.scale, (self.high - self.loc) / self.scale
        density = (-0.5 * a.square()).exp() - (-0.5 * b.square()).exp()
        shift = density / math.sqrt(2 * math.pi) / self.log_mass.exp()
        return (self.loc + self.scale * shift).clamp(self.low, self.high)


class TruncatedNormalLikelihood(vaezoo.Likelihood):
    """A normal distribution of each number, cut off at two limits.

    The decoder gives its location and scale.

    Args:
        low, high: the limits, in the units of the source.
    """

    supports = frozenset({"real", "unit"})
    params_per_value = 2

    def __init__(self, wiring: vaezoo.Wiring, /, *, low: float, high: float) -> None:
        super().__init__(wiring)
        if not low < high:
            raise ValueError(f"low: {low:g} must be less than high: {high:g}")
        if len(self.data.fields) > 1:
            raise ValueError("needs one column, because limits are in the units of one")
        offset, scale = 0.0, 1.0
        for field in self.data.fields:
            offset, scale = field.offset, field.scale
        self.low, self.high = (low - offset) / scale, (high - offset) / scale
        self.limits = vaezoo.distributions.LogScaleLimits(*_LOG_SCALES)

    def forward(self, h: Tensor, extras: Mapping[str, Tensor]) -> Distribution:
        """From ``[*, *parameter_shape]``."""
        loc, log_scale = self.split_parameters(h).unbind(0)
        scale = self.limits(log_scale).exp()
        return Independent(TruncatedNormal(loc, scale, self.low, self.high), self.event_dims)
