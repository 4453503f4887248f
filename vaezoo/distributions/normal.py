"""Normal distributions over vectors, and mixtures of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal, kl_divergence, register_kl

from vaezoo.distributions.sample_shape import SampleShape
from vaezoo.utils.batch_share import BatchShare


def independent(base: Distribution, event_dims: int) -> Distribution:
    """Reinterprets the last ``event_dims`` batch dimensions as event dimensions."""
    return Independent(base, event_dims, validate_args=False) if event_dims else base


class DiagonalNormal(Distribution):
    """A normal distribution over vectors or maps with a diagonal covariance.

    The same as torch's ``Independent(Normal)``, but with fewer operations per step. The shapes
    below are those of vectors.

    Args:
        mean, log_scale: ``[*, D]``, both of the same shape.
        event_dims: the number of dimensions of one value: 1 for a vector, 3 for a map
            ``[D, H, W]``.
    """

    arg_constraints: dict[str, Any] = {}
    has_rsample = True

    def __init__(self, mean: Tensor, log_scale: Tensor, event_dims: int = 1) -> None:
        if event_dims < 1:
            raise ValueError("a value has at least one dimension; for scalars use torch's Normal")
        self.loc, self.log_scale, self.scale = mean, log_scale, log_scale.exp()
        self.sum_dims = tuple(range(-event_dims, 0))
        batch_shape, event_shape = mean.shape[:-event_dims], mean.shape[-event_dims:]
        super().__init__(batch_shape, event_shape, validate_args=False)

    @property
    def mean(self) -> Tensor:
        """The expected vector, ``[*, D]``."""
        return self.loc

    @property
    def mode(self) -> Tensor:
        """The mean, ``[*, D]``."""
        return self.loc

    @property
    def variance(self) -> Tensor:
        """The variance of each dimension, ``[*, D]``."""
        return self.scale.square()

    def expand(self, batch_shape: Any, _instance: Any = None) -> DiagonalNormal:
        """Returns the distribution with a larger batch shape."""
        shape = (*batch_shape, *self.event_shape)  # [*batch_shape, D]
        loc, log_scale = self.loc.expand(shape), self.log_scale.expand(shape)
        return DiagonalNormal(loc, log_scale, len(self.event_shape))

    def rsample(self, sample_shape: SampleShape = torch.Size()) -> Tensor:  # noqa: B008
        """Samples vectors ``[*sample_shape, *, D]`` with gradients to mean and scale."""
        if tuple(sample_shape) == (1,):  # without broadcasting, the backward pass needs no sum
            # [1, *, D]
            return torch.addcmul(self.loc, torch.randn_like(self.loc), self.scale).unsqueeze(0)
        shape = (*sample_shape, *self.loc.shape)
        noise = torch.randn(shape, dtype=self.loc.dtype, device=self.loc.device)
        return torch.addcmul(self.loc, noise, self.scale)

    def log_prob(self, value: Tensor) -> Tensor:
        """The log-density of vectors ``[*, D]``, in nats, ``[*]``."""
        return normal_log_prob(value, self.loc, self.log_scale).sum(self.sum_dims)

    def entropy(self) -> Tensor:
        """The entropy in nats, ``[*]``."""
        return (self.log_scale + 0.5 * math.log(2 * math.pi * math.e)).sum(self.sum_dims)

    def tempered(self, temperature: float) -> DiagonalNormal:
        """The distribution with its variances multiplied by ``temperature``."""
        log_scale = self.log_scale + 0.5 * math.log(temperature)
        return DiagonalNormal(self.loc, log_scale, len(self.event_shape))


class UnitNormal(DiagonalNormal):
    """The standard normal distribution N(0, I) over vectors or maps.

    Args:
        zero: zeros with the shape of one value, such as ``[D]``, of the desired dtype and device.
    """

    def __init__(self, zero: Tensor) -> None:
        super().__init__(zero, zero, zero.dim())


@register_kl(DiagonalNormal, UnitNormal)  # type: ignore[untyped-decorator]
def _kl_unit(q: DiagonalNormal, p: UnitNormal) -> Tensor:
    return (0.5 * (q.loc.square() + q.scale.square() - 1) - q.log_scale).sum(q.sum_dims)


@register_kl(DiagonalNormal, DiagonalNormal)  # type: ignore[untyped-decorator]
def _kl_diagonal(q: DiagonalNormal, p: DiagonalNormal) -> Tensor:
    shift, ratio = (q.loc - p.loc) / p.scale, q.log_scale - p.log_scale
    return (0.5 * (shift.square() + (2 * ratio).exp() - 1) - ratio).sum(q.sum_dims)


@register_kl(DiagonalNormal, Independent)  # type: ignore[untyped-decorator]
def _kl_to_torch(q: DiagonalNormal, p: Independent) -> Tensor:
    return kl_divergence(_as_independent(q), p)


@register_kl(Independent, DiagonalNormal)  # type: ignore[untyped-decorator]
def _kl_from_torch(q: Independent, p: DiagonalNormal) -> Tensor:
    return kl_divergence(q, _as_independent(p))


def _as_independent(normal: DiagonalNormal) -> Distribution:
    base = Normal(normal.loc, normal.scale, validate_args=False)
    return independent(base, len(normal.event_shape))


class NormalMixture(Distribution):
    """A mixture of C diagonal normals over vectors; its log-density needs one matrix product.

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

    @property
    def mode(self) -> Tensor:
        """The mean of the most probable component, ``[D]``."""
        return self.loc[self.logits.argmax()]

    def tempered(self, temperature: float) -> NormalMixture:
        """Logits are divided by the temperature, variances multiplied by it."""
        log_scale = self.log_scale + 0.5 * math.log(temperature)
        return NormalMixture(self.logits / temperature, self.loc, log_scale)

    def sample(self, sample_shape: SampleShape = torch.Size()) -> Tensor:  # noqa: B008
        """Samples vectors ``[*sample_shape, D]``."""
        categorical = torch.distributions.Categorical(logits=self.logits, validate_args=False)
        component = categorical.sample(torch.Size(sample_shape))
        return torch.normal(self.loc[component], self.log_scale.exp()[component])

    def log_prob(self, value: Tensor) -> Tensor:
        """The log-density of vectors ``[*, D]``, in nats, ``[*]``.

        The square (x - mean)² of each component is expanded, so that no tensor ``[*, C, D]`` is
        needed. Its terms are as large as (mean / sigma)² and cancel, so that they need fp64; on a
        device without fp64 it is not expanded.
        """
        if not _has_fp64(value.device):
            log_p = normal_log_prob(value.unsqueeze(-2), self.loc, self.log_scale).sum(-1)
            return torch.logsumexp(log_p + self.logits.log_softmax(-1), -1)  # [*, C] to [*]
        x, loc, log_scale = value.double(), self.loc.double(), self.log_scale.double()
        precision = (-2 * log_scale).exp()
        scaled_mean = loc * precision
        constant = -0.5 * (loc * scaled_mean).sum(-1) - log_scale.sum(-1)
        log_norm = 0.5 * loc.shape[-1] * math.log(2 * math.pi)
        constant = constant - log_norm + self.logits.log_softmax(-1)  # [C]
        # one product for both matrices: [*, 2 D] times [2 D, C]
        weight = torch.cat([scaled_mean, -0.5 * precision], -1)
        log_p = F.linear(torch.cat([x, x.square()], -1), weight, constant)
        return torch.logsumexp(log_p.to(value.dtype), -1)  # [*, C] to [*]


def _has_fp64(device: torch.device) -> bool:
    """Whether a device computes in fp64."""
    return device.type != "mps"


class OptimalNormal(Distribution):
    """A normal with one variance, the maximum-likelihood one (Rybkin et al. 2021, eq. 6).

    The variance is computed from the values whose density is evaluated: it is their mean squared
    error, over all of ``loc`` and, in a training step, over all processes that share the batch.

    Args:
        loc: the mean, ``[*]``.
        on_scale: called with the log standard deviation, detached, in every call of ``log_prob``.
        minimum: the soft lower bound of the log standard deviation.
    """

    arg_constraints: dict[str, Any] = {}

    def __init__(self, loc: Tensor, on_scale: Callable[[Tensor], None], minimum: float) -> None:
        self.loc, self.on_scale, self.minimum = loc, on_scale, minimum
        super().__init__(loc.shape, validate_args=False)

    @property
    def mean(self) -> Tensor:
        """The mean, ``[*]``."""
        return self.loc

    def log_prob(self, value: Tensor) -> Tensor:
        """The log-density at log sigma = 0.5 log MSE, in nats, elementwise."""
        error = BatchShare.current().mean((value - self.loc).square().mean())
        # the logarithm of 0 has no gradient
        log_error = error.clamp(min=torch.finfo(error.dtype).tiny).log()
        log_scale = soft_clip(0.5 * log_error, self.minimum)
        self.on_scale(log_scale.detach())
        return normal_log_prob(value, self.loc, log_scale)


def soft_clip(value: Tensor, minimum: float) -> Tensor:
    """Bounds ``value`` smoothly from below by ``minimum``."""
    return minimum + F.softplus(value - minimum)


def normal_log_prob(value: Tensor, loc: Tensor, log_scale: Tensor) -> Tensor:
    """The log-density log N(value; loc, exp(log_scale)²), in nats, elementwise."""
    squared_error = ((value - loc) * (-log_scale).exp()).square()
    return -0.5 * squared_error - log_scale - 0.5 * math.log(2 * math.pi)
