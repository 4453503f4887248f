"""Distributions over a finite set of values."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Distribution, register_kl

from vaezoo.distributions.sample_shape import SampleShape

_HALF_STEP = 2.0**-25
"""Half of the smallest uniform random number in fp32 above 0."""
_NARROW = 10.0
"""The inverse scale from which a logistic distribution is narrow: e^10 is not lost beside 1."""
_EXTREME = 80.0
"""Log-scales beyond are taken as this: in fp32 their exponential or its inverse is infinite."""


class BinaryLogits(Distribution):
    """A Bernoulli distribution whose log-probability also accepts values between 0 and 1.

    For these it is the negative cross-entropy, which is not a log-density;
    ``continuous-bernoulli`` has a density.

    Args:
        logits: ``[*, *event]``.
        event_dims: the number of event dimensions; replaces torch's ``Independent``, which is
            slower.
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

    @property
    def mode(self) -> Tensor:
        """The more probable value, ``[*, *event]``."""
        return (self.logits > 0).float()

    def tempered(self, temperature: float) -> BinaryLogits:
        """The distribution with its logits divided by ``temperature``."""
        return BinaryLogits(self.logits / temperature, self.event_dims)

    def sample(self, sample_shape: SampleShape = torch.Size()) -> Tensor:  # noqa: B008
        """Samples 0 or 1, ``[*sample_shape, *, *event]``."""
        mean = self.mean.expand(*sample_shape, *self.logits.shape)  # [*sample_shape, *, *event]
        return torch.bernoulli(mean)

    def log_prob(self, value: Tensor) -> Tensor:
        """The log-probability of values ``[*, *event]``, in nats, ``[*]``."""
        logits = self.logits
        if value.dim() > logits.dim() or value.shape != logits.shape[-value.dim() :]:
            logits, value = torch.broadcast_tensors(logits, value)
        value = value.expand_as(logits)  # [*, *event]
        cross_entropy = F.binary_cross_entropy_with_logits(logits, value, reduction="none")
        if self.event_dims:
            cross_entropy = cross_entropy.sum(tuple(range(-self.event_dims, 0)))
        return -cross_entropy


class CategoricalLevels(Distribution):
    """A categorical distribution over equally spaced values in [0, 1], such as grey levels.

    Args:
        logits: ``[*, levels]``.
    """

    arg_constraints: dict[str, Any] = {}

    def __init__(self, logits: Tensor) -> None:
        self.log_probabilities = F.log_softmax(logits, -1)
        super().__init__(logits.shape[:-1], validate_args=False)

    @property
    def num_levels(self) -> int:
        """The number of values."""
        return self.log_probabilities.shape[-1]

    @property
    def mean(self) -> Tensor:
        """The expected value, in [0, 1], ``[*]``."""
        values = torch.linspace(0, 1, self.num_levels, device=self.log_probabilities.device)
        mean = (self.log_probabilities.exp() * values).sum(-1)
        return mean.clamp(max=1)  # which rounding can exceed

    @property
    def mode(self) -> Tensor:
        """The most probable value, in [0, 1], ``[*]``."""
        return self.log_probabilities.argmax(-1) / (self.num_levels - 1)

    def tempered(self, temperature: float) -> CategoricalLevels:
        """The distribution with its logits divided by ``temperature``."""
        return CategoricalLevels(self.log_probabilities / temperature)

    def sample(self, sample_shape: SampleShape = torch.Size()) -> Tensor:  # noqa: B008
        """Samples values in [0, 1], ``[*sample_shape, *]``."""
        categorical = torch.distributions.Categorical(
            logits=self.log_probabilities, validate_args=False
        )
        return categorical.sample(torch.Size(sample_shape)) / (self.num_levels - 1)

    def log_prob(self, value: Tensor) -> Tensor:
        """The log-probability of the level nearest to each value, in nats, ``[*]``."""
        index = (value * (self.num_levels - 1)).round().long()
        shape = torch.broadcast_shapes(index.shape, self.batch_shape)
        log_probabilities = self.log_probabilities.expand(*shape, self.num_levels)  # [*, levels]
        return log_probabilities.gather(-1, index.expand(shape).unsqueeze(-1)).squeeze(-1)  # [*]


class DiscretizedLogistic(Distribution):
    """A logistic distribution integrated over bins (Salimans et al. 2017, eq. 2).

    The bins lie around ``levels`` equally spaced values in [0, 1]. The first and the last bin
    extend to infinity, so that the probabilities sum to 1.

    Args:
        loc, log_scale: of the logistic distribution, ``[*]``.
        levels: the number of values.
    """

    arg_constraints: dict[str, Any] = {}

    def __init__(self, loc: Tensor, log_scale: Tensor, levels: int) -> None:
        self.loc, self.log_scale, self.levels = loc, log_scale, levels
        super().__init__(loc.shape, validate_args=False)

    @property
    def mean(self) -> Tensor:
        """The mean of the logistic distribution clipped to [0, 1], before rounding, ``[*]``.

        It is s · (softplus(loc / s) - softplus((loc - 1) / s)) with the scale s, computed as the
        log of a ratio where s is large and the two are nearly equal.
        """
        log_scale = self.log_scale.clamp(-_EXTREME, _EXTREME)
        scale, inverse = log_scale.exp(), (-log_scale).exp()
        lower, upper = -self.loc * inverse, (1 - self.loc) * inverse
        difference = F.softplus(-lower) - F.softplus(-upper)
        ratio = (-upper).sigmoid() * torch.expm1(inverse.clamp(max=_NARROW))
        mean = scale * torch.where(inverse < _NARROW, ratio.log1p(), difference)
        return mean.clamp(0, 1)

    @property
    def mode(self) -> Tensor:
        """The mode of the logistic distribution, clipped to [0, 1], before rounding, ``[*]``."""
        return self.loc.clamp(0, 1)

    def sample(self, sample_shape: SampleShape = torch.Size()) -> Tensor:  # noqa: B008
        """Samples values in [0, 1], ``[*sample_shape, *]``."""
        shape = torch.Size(sample_shape) + self.loc.shape
        u = torch.rand(shape, device=self.loc.device).clamp(min=_HALF_STEP)  # never 1
        value = self.loc + self.log_scale.exp() * (u.log() - (-u).log1p())
        return (value.clamp(0, 1) * (self.levels - 1)).round() / (self.levels - 1)

    def log_prob(self, value: Tensor) -> Tensor:
        """The log-probability of the bin of each value, in nats, ``[*]``.

        For a bin from a to b and the sigmoid s, it is log(s(b) - s(a)), computed as the log of
        s(b)·s(-a)·(1 - exp(a - b)) to avoid cancellation.
        """
        half = 0.5 / (self.levels - 1)
        inverse = (-self.log_scale).exp()
        lower = (value - half - self.loc) * inverse
        upper = (value + half - self.loc) * inverse
        width = 2 * half * inverse
        inside = F.logsigmoid(upper) + F.logsigmoid(-lower) + torch.log(-torch.expm1(-width))
        first, last = F.logsigmoid(upper), F.logsigmoid(-lower)
        return torch.where(value < half, first, torch.where(value > 1 - half, last, inside))


class OneHot(Distribution):
    """A categorical distribution over C values as one-hot vectors.

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

    @property
    def mode(self) -> Tensor:
        """The most probable vector, ``[*, C]``."""
        best = self.log_probabilities.argmax(-1)  # [*]
        return F.one_hot(best, self.event_shape[-1]).float()

    def tempered(self, temperature: float) -> OneHot:
        """The distribution with its logits divided by ``temperature``."""
        return OneHot(self.log_probabilities / temperature)

    def sample(self, sample_shape: SampleShape = torch.Size()) -> Tensor:  # noqa: B008
        """Samples vectors ``[*sample_shape, *, C]``."""
        # torch's OneHotCategorical checks its arguments in any case, which waits for the device
        categorical = torch.distributions.Categorical(
            logits=self.log_probabilities, validate_args=False
        )
        index = categorical.sample(torch.Size(sample_shape))  # [*sample_shape, *]
        return F.one_hot(index, self.event_shape[-1]).to(self.log_probabilities)

    def log_prob(self, value: Tensor) -> Tensor:
        """The log-probability of vectors ``[*, C]``, in nats, ``[*]``."""
        return (self.log_probabilities * value).sum(-1)


@register_kl(OneHot, OneHot)  # type: ignore[untyped-decorator]
def _kl_one_hot(q: OneHot, p: OneHot) -> Tensor:
    return (q.mean * (q.log_probabilities - p.log_probabilities)).sum(-1)
