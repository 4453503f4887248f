"""Distributions that torch lacks, and the stop-gradient of a distribution.

All are built with ``validate_args=False``: torch's own checks would wait for the device at every step.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal, kl_divergence, register_kl


def independent(base: Distribution, event_dims: int) -> Distribution:
    """``base`` with its last ``event_dims`` batch dimensions taken as one event."""
    return Independent(base, event_dims, validate_args=False) if event_dims else base


class DiagonalNormal(Distribution):
    """A normal over vectors with independent dimensions: torch's ``Independent(Normal)`` with less work per step.

    Args:
        mean, log_scale: ``[*, D]``, of one shape.
    """

    arg_constraints: dict[str, Any] = {}
    has_rsample = True

    def __init__(self, mean: Tensor, log_scale: Tensor) -> None:
        self.loc, self.log_scale, self.scale = mean, log_scale, log_scale.exp()
        super().__init__(mean.shape[:-1], mean.shape[-1:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """The expected vector, ``[*, D]``."""
        return self.loc

    @property
    def variance(self) -> Tensor:
        """The variance of each dimension, ``[*, D]``."""
        return self.scale.square()

    def expand(self, batch_shape: Any, _instance: Any = None) -> DiagonalNormal:
        """The same with a larger batch shape."""
        shape = (*batch_shape, *self.event_shape)
        return DiagonalNormal(self.loc.expand(shape), self.log_scale.expand(shape))

    def rsample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = torch.Size()) -> Tensor:  # noqa: B008
        """Draws vectors ``[*sample_shape, *, D]`` that carry gradients to mean and scale."""
        if tuple(sample_shape) == (1,):  # a broadcast would have to be summed up again going backward
            return torch.addcmul(self.loc, torch.randn_like(self.loc), self.scale).unsqueeze(0)
        noise = torch.randn(*sample_shape, *self.loc.shape, dtype=self.loc.dtype, device=self.loc.device)
        return torch.addcmul(self.loc, noise, self.scale)

    def log_prob(self, value: Tensor) -> Tensor:
        """log p of vectors ``[*, D]``."""
        return normal_log_prob(value, self.loc, self.log_scale).sum(-1)

    def entropy(self) -> Tensor:
        """The entropy in nats, ``[*]``."""
        return (self.log_scale + 0.5 * math.log(2 * math.pi * math.e)).sum(-1)


class UnitNormal(DiagonalNormal):
    """N(0, I) over vectors like ``zero`` ``[D]``."""

    def __init__(self, zero: Tensor) -> None:
        super().__init__(zero, zero)


@register_kl(DiagonalNormal, UnitNormal)  # type: ignore[untyped-decorator]
def _kl_unit(q: DiagonalNormal, p: UnitNormal) -> Tensor:
    return (0.5 * (q.loc.square() + q.scale.square() - 1) - q.log_scale).sum(-1)


@register_kl(DiagonalNormal, DiagonalNormal)  # type: ignore[untyped-decorator]
def _kl_diagonal(q: DiagonalNormal, p: DiagonalNormal) -> Tensor:
    shift, ratio = (q.loc - p.loc) / p.scale, q.log_scale - p.log_scale
    return (0.5 * (shift.square() + (2 * ratio).exp() - 1) - ratio).sum(-1)


@register_kl(DiagonalNormal, Independent)  # type: ignore[untyped-decorator]
def _kl_to_torch(q: DiagonalNormal, p: Independent) -> Tensor:
    return kl_divergence(independent(Normal(q.loc, q.scale, validate_args=False), 1), p)


@register_kl(Independent, DiagonalNormal)  # type: ignore[untyped-decorator]
def _kl_from_torch(q: Independent, p: DiagonalNormal) -> Tensor:
    return kl_divergence(q, independent(Normal(p.loc, p.scale, validate_args=False), 1))


def detach(distribution: Distribution) -> Distribution:
    """The same distribution with gradients stopped at its parameters.

    Raises:
        TypeError: it holds a module (a flow, say), whose weights cannot be detached.
    """
    clone = copy.copy(distribution)
    for name, value in vars(distribution).items():
        clone.__dict__[name] = _detach_value(value)
    return clone


def _detach_value(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach()
    if isinstance(value, Distribution):
        return detach(value)
    if isinstance(value, list | tuple):
        return type(value)(_detach_value(item) for item in value)
    if isinstance(value, torch.nn.Module | torch.distributions.Transform):
        raise TypeError(f"cannot stop gradients inside {type(value).__name__}; use the standard gradient")
    return value


class Implicit(Distribution):
    """A posterior known by its samples alone: a point, or the output of a network fed with noise.

    Args:
        value: one sample for each example, ``[*, D]``, which carries gradients.
        resample: makes fresh samples of a given leading shape, ``[*sample_shape, *, D]``; None: all are ``value``.
    """

    arg_constraints: dict[str, Any] = {}
    has_rsample = True

    def __init__(self, value: Tensor, resample: Callable[[torch.Size], Tensor] | None = None) -> None:
        self.value, self.resample = value, resample
        super().__init__(value.shape[:-1], value.shape[-1:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """The point, or the one sample that stands for the rest, ``[*, D]``."""
        return self.value

    def rsample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = torch.Size()) -> Tensor:  # noqa: B008
        """Samples ``[*sample_shape, *, D]``."""
        shape = torch.Size(sample_shape)
        return self.value.expand(*shape, *self.value.shape) if self.resample is None else self.resample(shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """Not defined."""
        raise NotImplementedError("this posterior has no density, so neither rate nor bound is defined")


class NormalMixture(Distribution):
    """A mixture of C diagonal normals over vectors; its log-density costs two products of matrices.

    Args:
        logits: ``[C]``.
        mean, log_scale: ``[C, D]``.
    """

    arg_constraints: dict[str, Any] = {}

    def __init__(self, logits: Tensor, mean: Tensor, log_scale: Tensor) -> None:
        self.logits, self.loc, self.log_scale = logits, mean, log_scale
        super().__init__(torch.Size(), mean.shape[-1:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """The expected vector, ``[D]``."""
        return self.logits.softmax(-1) @ self.loc

    def sample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = torch.Size()) -> Tensor:  # noqa: B008
        """Draws vectors ``[*sample_shape, D]``."""
        which = torch.distributions.Categorical(logits=self.logits, validate_args=False).sample(
            torch.Size(sample_shape)
        )
        return torch.normal(self.loc[which], self.log_scale.exp()[which])

    def log_prob(self, value: Tensor) -> Tensor:
        """log p of vectors ``[*, D]``, by expanding the square of each normal."""
        precision = (-2 * self.log_scale).exp()
        centred = self.loc * precision
        constant = -0.5 * (self.loc * centred).sum(-1) - self.log_scale.sum(-1)
        constant = constant - 0.5 * self.loc.shape[-1] * math.log(2 * math.pi) + self.logits.log_softmax(-1)
        quadratic = F.linear(value, centred) - 0.5 * F.linear(value.square(), precision)
        return torch.logsumexp(quadratic + constant, -1)


class BinaryLogits(Distribution):
    """Bernoulli by logits whose log-probability also takes targets between 0 and 1.

    Then it is the usual cross-entropy, which is no density; ``continuous-bernoulli`` is one.

    Args:
        logits: ``[*, *event]``.
        event_dims: how many of their last dimensions are one event; torch's ``Independent`` would take longer.
    """

    arg_constraints: dict[str, Any] = {}

    def __init__(self, logits: Tensor, event_dims: int = 0) -> None:
        self.logits, self.event_dims = logits, event_dims
        batch_dims = logits.dim() - event_dims
        super().__init__(logits.shape[:batch_dims], logits.shape[batch_dims:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """The probability of 1, ``[*, *event]``."""
        return self.logits.sigmoid()

    def sample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = torch.Size()) -> Tensor:  # noqa: B008
        """Draws 0 or 1, ``[*sample_shape, *, *event]``."""
        return torch.bernoulli(self.mean.expand(*sample_shape, *self.logits.shape))

    def log_prob(self, value: Tensor) -> Tensor:
        """log p of values ``[*, *event]``, summed over the event, ``[*]``."""
        logits = self.logits
        if value.dim() > logits.dim() or value.shape != logits.shape[-value.dim() :]:
            logits, value = torch.broadcast_tensors(logits, value)
        entropy = F.binary_cross_entropy_with_logits(logits, value.expand_as(logits), reduction="none")
        return -entropy.sum(tuple(range(-self.event_dims, 0))) if self.event_dims else -entropy


class Levels(Distribution):
    """A distribution over ``levels`` equally spaced values in [0, 1], by their logits.

    Args:
        logits: ``[*, levels]``.
    """

    arg_constraints: dict[str, Any] = {}

    def __init__(self, logits: Tensor) -> None:
        self.log_probabilities = F.log_softmax(logits, -1)
        super().__init__(logits.shape[:-1], validate_args=False)

    @property
    def levels(self) -> int:
        """How many values there are."""
        return self.log_probabilities.shape[-1]

    @property
    def mean(self) -> Tensor:
        """The expected value, in [0, 1]."""
        values = torch.linspace(0, 1, self.levels, device=self.log_probabilities.device)
        return (self.log_probabilities.exp() * values).sum(-1)

    def sample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = torch.Size()) -> Tensor:  # noqa: B008
        """Draws values in [0, 1]."""
        drawn = torch.distributions.Categorical(logits=self.log_probabilities, validate_args=False)
        return drawn.sample(torch.Size(sample_shape)) / (self.levels - 1)

    def log_prob(self, value: Tensor) -> Tensor:
        """log p of the level nearest to each value."""
        index = (value * (self.levels - 1)).round().long()
        shape = torch.broadcast_shapes(index.shape, self.batch_shape)
        table = self.log_probabilities.expand(*shape, self.levels)
        return table.gather(-1, index.expand(shape).unsqueeze(-1)).squeeze(-1)


class DiscretizedLogistic(Distribution):
    """A logistic distribution integrated over bins around ``levels`` values in [0, 1] (Salimans et al. 2017, eq. 2).

    The first and last bin reach to infinity, so that the probabilities sum to 1.
    """

    arg_constraints: dict[str, Any] = {}

    def __init__(self, loc: Tensor, log_scale: Tensor, levels: int) -> None:
        self.loc, self.log_scale, self.levels = loc, log_scale, levels
        super().__init__(loc.shape, validate_args=False)

    @property
    def mean(self) -> Tensor:
        """The location, kept in [0, 1]."""
        return self.loc.clamp(0, 1)

    def sample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = torch.Size()) -> Tensor:  # noqa: B008
        """Draws values in [0, 1]."""
        shape = torch.Size(sample_shape) + self.loc.shape
        u = torch.rand(shape, device=self.loc.device).clamp(1e-6, 1 - 1e-6)
        value = self.loc + self.log_scale.exp() * (u.log() - (-u).log1p())
        return (value.clamp(0, 1) * (self.levels - 1)).round() / (self.levels - 1)

    def log_prob(self, value: Tensor) -> Tensor:
        """log(s(b) - s(a)) for a bin (a, b), by s(b)·s(-a)·(1 - exp(a - b)), which never cancels."""
        half = 0.5 / (self.levels - 1)
        inverse = (-self.log_scale).exp()
        lower, upper = (value - half - self.loc) * inverse, (value + half - self.loc) * inverse
        width = 2 * half * inverse
        inside = F.logsigmoid(upper) + F.logsigmoid(-lower) + torch.log(-torch.expm1(-width))
        first, last = F.logsigmoid(upper), F.logsigmoid(-lower)
        return torch.where(value < half, first, torch.where(value > 1 - half, last, inside))


class OptimalNormal(Distribution):
    """A normal whose one variance is the best for the values it is asked about (Rybkin et al. 2021, eq. 6).

    Args:
        loc: mean.
        on_scale: told the log standard deviation, detached, whenever it is computed.
        minimum: where log sigma is softly clipped.
    """

    arg_constraints: dict[str, Any] = {}

    def __init__(self, loc: Tensor, on_scale: Callable[[Tensor], None], minimum: float) -> None:
        self.loc, self.on_scale, self.minimum = loc, on_scale, minimum
        super().__init__(loc.shape, validate_args=False)

    @property
    def mean(self) -> Tensor:
        """The mean."""
        return self.loc

    def log_prob(self, value: Tensor) -> Tensor:
        """The normal log-density at log sigma = 0.5 log MSE, elementwise."""
        log_scale = soft_clip(0.5 * (value - self.loc).square().mean().log(), self.minimum)
        self.on_scale(log_scale.detach())
        return normal_log_prob(value, self.loc, log_scale)


def soft_clip(value: Tensor, minimum: float) -> Tensor:
    """``value``, bent smoothly so as to stay above ``minimum``."""
    return minimum + F.softplus(value - minimum)


def normal_log_prob(value: Tensor, loc: Tensor, log_scale: Tensor) -> Tensor:
    """log N(value; loc, exp(log_scale)²), elementwise."""
    return -0.5 * ((value - loc) * (-log_scale).exp()).square() - log_scale - 0.5 * math.log(2 * math.pi)
