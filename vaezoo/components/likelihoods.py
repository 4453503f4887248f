"""Likelihoods p(x|z) of binary, continuous and quantised data.

Shapes: ``*`` the leading dimensions ``[K, B]`` or ``[B]``, ``*shape`` one example, C channels, H
height, W width, D dimensions of a vector.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, Laplace, MixtureSameFamily, Normal

from vaezoo.data.dataspec import DataSpec, Shape
from vaezoo.distributions import (
    BinaryLogits,
    CategoricalLevels,
    ContinuousBernoulli,
    DiagonalNormal,
    DiscretizedLogistic,
    LogScaleLimits,
    OneHot,
    OptimalNormal,
    independent,
    soft_clip,
)
from vaezoo.model.defaults import BeforeV2
from vaezoo.model.parts import Likelihood
from vaezoo.model.trace import Trace
from vaezoo.model.wiring import Wiring

PositiveFloat = Annotated[float, Gt(0)]
Limit = Annotated[float | None, BeforeV2(None)]
_NUMBERS = frozenset({"binary", "unit", "real", "count", "mixed"})
"""What a density of real numbers can be of; one-hot columns of a table count as numbers."""
_AVERAGED_BATCHES = 100  # the horizon of the running mean of log sigma


class BernoulliLikelihood(Likelihood):
    """A Bernoulli with logits from the decoder.

    For grey values in [0, 1] it is the cross-entropy, which is not a normalised density.
    """

    supports = frozenset({"binary", "unit"})

    @property
    def is_normalised(self) -> bool:
        """Only of 0 and 1."""
        return self.data.support == "binary"

    def forward(self, h: Tensor, extras: Mapping[str, Tensor]) -> Distribution:
        """From logits ``[*, *shape]``."""
        return BinaryLogits(h, self.event_dims)


class ContinuousBernoulliLikelihood(Likelihood):
    """The continuous Bernoulli: the Bernoulli normalised to a density on [0, 1].

    Loaiza-Ganem & Cunningham 2019.
    """

    supports = frozenset({"binary", "unit"})

    def forward(self, h: Tensor, extras: Mapping[str, Tensor]) -> Distribution:
        """From logits ``[*, *shape]``."""
        return independent(ContinuousBernoulli(logits=h, validate_args=False), self.event_dims)


class NormalLikelihood(Likelihood):
    """A normal with one standard deviation for all dimensions, or one for each from the decoder.

    Args:
        scale: a fixed standard deviation; ``learned``, one trained scalar; ``optimal``, the
            maximum likelihood value of each batch during training (sigma-VAE, Rybkin et al. 2021)
            and its running mean afterwards; or ``predicted``, from the decoder for each number.
        minimum: log sigma is softly clipped at this value, for ``optimal`` and ``predicted``; with
            a maximum also for ``learned``.
        maximum: for ``learned`` and ``predicted``, log sigma is kept between minimum and maximum
            as in ``diagonal-normal``; null, as in v1 specs, sets no upper limit.
    """

    supports = _NUMBERS
    log_scale: Tensor

    def __init__(
        self,
        wiring: Wiring,
        /,
        *,
        scale: PositiveFloat | Literal["learned", "optimal", "predicted"] = "learned",
        minimum: float = -6.0,
        maximum: Limit = 20.0,
    ) -> None:
        super().__init__(wiring)
        if scale == "optimal" and self.data.mask_dims:
            raise ValueError("scale: optimal does not support masks; use learned")
        self.optimal, self.minimum = scale == "optimal", minimum
        self.limit: Callable[[Tensor], Tensor] = LogScaleLimits()
        if scale == "predicted":
            self.limit, self.params_per_value = _limit(minimum, maximum), 2
        elif scale == "learned" and maximum is not None:
            self.limit = LogScaleLimits(minimum, maximum)
        self.pools_examples = self.optimal
        start = torch.tensor(0.0 if isinstance(scale, str) else math.log(scale))
        if scale == "learned":
            self.log_scale = nn.Parameter(start)
        else:
            self.register_buffer("log_scale", start, persistent=scale != "predicted")
        # the number of batches averaged in log_scale
        self.register_buffer("seen", torch.zeros(()), persistent=self.optimal)

    def forward(self, h: Tensor, extras: Mapping[str, Tensor]) -> Distribution:
        """From means ``[*, *shape]``, for ``predicted`` concatenated with log-scales."""
        if self.optimal and self.training:
            normal = OptimalNormal(h, self._update_log_scale, self.minimum)
            return independent(normal, self.event_dims)
        loc, log_scale = h, self.log_scale
        if self.params_per_value == 2:
            loc, log_scale = self.split_parameters(h).unbind(0)
        scale = self.limit(log_scale).exp().expand_as(loc)  # [*, *shape]
        return independent(Normal(loc, scale, validate_args=False), self.event_dims)

    def log_prob(self, trace: Trace) -> Tensor:
        """log p(x|z) of each example in nats, ``[K, B]``.

        Raises:
            ValueError: ``scale: optimal`` with samples that enumerate a variable: its variance
                would count all of them alike.
        """
        if self.optimal and trace.weights is not None:
            raise ValueError("scale: optimal does not support enumerated samples; use learned")
        return super().log_prob(trace)

    def _update_log_scale(self, log_scale: Tensor) -> None:
        """Updates the running mean of log sigma, over all batches at first and about 100 later."""
        batches = self.get_buffer("seen")
        batches.add_(1)
        self.log_scale.lerp_(log_scale, 1 / batches.clamp(max=_AVERAGED_BATCHES))


class LaplaceLikelihood(Likelihood):
    """A Laplace distribution with one scale for all dimensions.

    Args:
        scale: a fixed scale, or ``learned``, one trained scalar.
        minimum, maximum: the logarithm of a learned scale is kept between them as in
            ``diagonal-normal``; null, as in v1 specs, sets no limit.
    """

    supports = _NUMBERS
    log_scale: Tensor

    def __init__(
        self,
        wiring: Wiring,
        /,
        *,
        scale: PositiveFloat | Literal["learned"] = "learned",
        minimum: Limit = -6.0,
        maximum: Limit = 20.0,
    ) -> None:
        super().__init__(wiring)
        self.limit = LogScaleLimits()
        if isinstance(scale, str):
            self.limit = LogScaleLimits(minimum, maximum)
            self.log_scale = nn.Parameter(torch.zeros(()))
        else:
            self.register_buffer("log_scale", torch.tensor(math.log(scale)))

    def forward(self, h: Tensor, extras: Mapping[str, Tensor]) -> Distribution:
        """From medians ``[*, *shape]``."""
        scale = self.limit(self.log_scale).exp().expand_as(h)  # [*, *shape]
        return independent(Laplace(h, scale, validate_args=False), self.event_dims)


class MixtureNormalLikelihood(Likelihood):
    """A mixture of diagonal normals for each vector, with all parameters from the decoder.

    Args:
        components: the number of normals.
        minimum: log sigma is softly clipped at this value.
        maximum: log sigma is kept between minimum and maximum as in ``diagonal-normal``; null, as
            in v1 specs, sets no upper limit.
    """

    supports = _NUMBERS

    def __init__(
        self,
        wiring: Wiring,
        /,
        *,
        components: Annotated[int, Gt(0)] = 5,
        minimum: float = -6.0,
        maximum: Limit = 20.0,
    ) -> None:
        super().__init__(wiring)
        if len(self.data.shape) > 2:
            raise ValueError(
                f"needs vectors or sequences of them, not examples of shape {self.data.shape}"
            )
        self.components, self.limit = components, _limit(minimum, maximum)
        spread = torch.linspace(-1, 1, components) if components > 1 else torch.zeros(1)
        self.register_buffer("spread", spread[:, None], persistent=False)

    @property
    def parameter_shape(self) -> Shape:
        """``[..., M · (1 + 2 D)]``: weight, D means and D log-scales of each of M components."""
        return (*self.data.shape[:-1], self.components * (1 + 2 * self.data.shape[-1]))

    def forward(self, h: Tensor, extras: Mapping[str, Tensor]) -> Distribution:
        """From ``[*, *parameter_shape]``; zeros give means that are spread evenly from -1 to 1."""
        parts = h.unflatten(-1, (self.components, -1))  # [*, M, 1 + 2 D]
        loc, log_scale = parts[..., 1:].chunk(2, -1)
        normals = DiagonalNormal(loc + self.get_buffer("spread"), self.limit(log_scale))
        weights = Categorical(logits=parts[..., 0], validate_args=False)
        mixture = MixtureSameFamily(weights, normals, validate_args=False)
        return independent(mixture, self.event_dims - 1)


class CategoricalLikelihood(Likelihood):
    """A probability for each value of a pixel, or for each symbol of a one-hot vector.

    Args:
        levels: the number of values of a pixel; 0 takes it from the data set.
    """

    supports = frozenset({"binary", "unit", "one-hot"})

    def __init__(self, wiring: Wiring, /, *, levels: Annotated[int, Ge(0)] = 0) -> None:
        super().__init__(wiring)
        self.one_hot = self.data.support == "one-hot"
        if self.one_hot and levels:
            raise ValueError("levels is for pixels, but this data set is one-hot")
        self.params_per_value = 1 if self.one_hot else _number_of_levels(self.data, levels)

    def forward(self, h: Tensor, extras: Mapping[str, Tensor]) -> Distribution:
        """From logits ``[*, levels · C, H, W]``, or ``[*, *shape]`` for one-hot data."""
        if self.one_hot:
            return independent(OneHot(h), self.event_dims - 1)
        logits = self.split_parameters(h).movedim(0, -1)  # [*, C, H, W, levels]
        return independent(CategoricalLevels(logits), self.event_dims)


class DiscretizedLogisticLikelihood(Likelihood):
    """A logistic distribution integrated over the bin of each value (Salimans et al. 2017).

    The decoder outputs location and log-scale of each value.

    Args:
        levels: the number of values; 0 takes it from the data set.
        minimum: the smallest log-scale.
        maximum: the log-scale is kept between minimum and maximum as in ``diagonal-normal``; null,
            as in v1 specs, cuts it off at minimum, with a gradient of 0, and sets no upper limit.
    """

    params_per_value = 2
    supports = frozenset({"binary", "unit"})

    def __init__(
        self,
        wiring: Wiring,
        /,
        *,
        levels: Annotated[int, Ge(0)] = 0,
        minimum: float = -7.0,
        maximum: Limit = 4.0,
    ) -> None:
        super().__init__(wiring)
        self.levels = _number_of_levels(self.data, levels)
        self.limit = _limit(minimum, maximum, torch.clamp)

    def forward(self, h: Tensor, extras: Mapping[str, Tensor]) -> Distribution:
        """From locations and log-scales ``[*, 2 · C, H, W]``; location 0 means 0.5."""
        loc, log_scale = self.split_parameters(h).unbind(0)
        logistic = DiscretizedLogistic(loc + 0.5, self.limit(log_scale - 2.0), self.levels)
        return independent(logistic, self.event_dims)


def _limit(
    minimum: float, maximum: float | None, clip: Callable[..., Tensor] = soft_clip
) -> Callable[[Tensor], Tensor]:
    """Keeps log-scales between two limits; without a maximum it is ``clip(value, minimum)``."""
    if maximum is not None:
        return LogScaleLimits(minimum, maximum)
    return lambda log_scale: clip(log_scale, minimum)


def _number_of_levels(data: DataSpec, option: int) -> int:
    """The option ``levels`` of a likelihood, or the data set's levels if it is 0.

    Raises:
        ValueError: neither is at least 2.
    """
    levels = option or data.levels
    if levels < 2:
        raise ValueError(
            "needs data with at least 2 levels, but this data set is continuous; give `levels`"
        )
    return levels
