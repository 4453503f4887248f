"""Distributions over a finite set of values."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Distribution


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


class OneHot(Distribution):
    """One of C values as a vector with a single 1, by their logits.

    Args:
        logits: ``[*, C]``.
    """

    arg_constraints: dict[str, Any] = {}

    def __init__(self, logits: Tensor) -> None:
        self.log_probabilities = F.log_softmax(logits, -1)
        super().__init__(logits.shape[:-1], logits.shape[-1:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """The probability of each value, ``[*, C]``."""
        return self.log_probabilities.exp()

    def sample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = torch.Size()) -> Tensor:  # noqa: B008
        """Draws vectors ``[*sample_shape, *, C]``."""
        drawn = torch.distributions.OneHotCategorical(logits=self.log_probabilities, validate_args=False)
        return drawn.sample(torch.Size(sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        """log p of vectors ``[*, C]``."""
        return (self.log_probabilities * value).sum(-1)
