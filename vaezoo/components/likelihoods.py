"""Likelihoods: decoder output to p(x|z)."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, Laplace, MixtureSameFamily, Normal

from vaezoo.data.dataspec import DataSpec, Shape
from vaezoo.distributions import (
    BinaryLogits,
    ContinuousBernoulli,
    DiagonalNormal,
    DiscretizedLogistic,
    Levels,
    OneHot,
    OptimalNormal,
    independent,
    soft_clip,
)
from vaezoo.model.parts import Likelihood

PositiveFloat = Annotated[float, Gt(0)]


class BernoulliLikelihood(Likelihood):
    """Bernoulli by logits. On grey values it is the usual cross-entropy, which is no density."""

    supports = frozenset({"binary", "unit"})

    def forward(self, h: Tensor) -> Distribution:
        """From logits ``[*, *shape]``."""
        return BinaryLogits(h, self.event_dims)


class ContinuousBernoulliLikelihood(Likelihood):
    """The density on [0, 1] with the Bernoulli's exponent (Loaiza-Ganem & Cunningham 2019)."""

    supports = frozenset({"binary", "unit"})

    def forward(self, h: Tensor) -> Distribution:
        """From logits ``[*, *shape]``."""
        return independent(ContinuousBernoulli(logits=h, validate_args=False), self.event_dims)


class NormalLikelihood(Likelihood):
    """A normal with one standard deviation for all dimensions, or with one for each from the decoder.

    Args:
        scale: a fixed standard deviation; ``learned``, one trained scalar; ``optimal``, the best one for each batch
            while training (sigma-VAE, Rybkin et al. 2021), and its running mean afterwards; or ``predicted``, what the
            decoder says of each number.
        minimum: where log sigma is softly clipped, for ``optimal`` and ``predicted``.
    """

    log_scale: Tensor

    def __init__(
        self,
        data: DataSpec,
        /,
        *,
        scale: PositiveFloat | Literal["learned", "optimal", "predicted"] = "learned",
        minimum: float = -6.0,
    ) -> None:
        super().__init__(data)
        if scale == "optimal" and data.mask_dims:
            raise ValueError("scale: optimal would count what the mask hides; use learned")
        self.optimal, self.minimum = scale == "optimal", minimum
        self.params_per_value = 2 if scale == "predicted" else 1
        start = torch.tensor(0.0 if isinstance(scale, str) else math.log(scale))
        if scale == "learned":
            self.log_scale = nn.Parameter(start)
        else:
            self.register_buffer("log_scale", start, persistent=scale != "predicted")
        self.register_buffer("seen", torch.zeros(()), persistent=self.optimal)

    def forward(self, h: Tensor) -> Distribution:
        """From means ``[*, *shape]``; with ``predicted``, from means and log-scales side by side."""
        if self.params_per_value == 2:
            loc, log_scale = self.split_parameters(h).unbind(0)
            scale = soft_clip(log_scale, self.minimum).exp()
            return independent(Normal(loc, scale, validate_args=False), self.event_dims)
        if self.optimal and self.training:
            return independent(OptimalNormal(h, self._remember, self.minimum), self.event_dims)
        return independent(Normal(h, self.log_scale.exp().expand_as(h), validate_args=False), self.event_dims)

    def _remember(self, log_scale: Tensor) -> None:
        """Keeps a running mean of log sigma: the mean of all at first, over about 100 batches later."""
        seen = self.get_buffer("seen")
        seen.add_(1)
        self.log_scale.lerp_(log_scale, 1 / seen.clamp(max=100))


class LaplaceLikelihood(Likelihood):
    """A Laplace with one scale for all dimensions.

    Args:
        scale: a fixed scale, or ``learned``, one trained scalar.
    """

    log_scale: Tensor

    def __init__(self, data: DataSpec, /, *, scale: PositiveFloat | Literal["learned"] = "learned") -> None:
        super().__init__(data)
        if isinstance(scale, str):
            self.log_scale = nn.Parameter(torch.zeros(()))
        else:
            self.register_buffer("log_scale", torch.tensor(math.log(scale)))

    def forward(self, h: Tensor) -> Distribution:
        """From medians ``[*, *shape]``."""
        return independent(Laplace(h, self.log_scale.exp().expand_as(h), validate_args=False), self.event_dims)


class MixtureNormalLikelihood(Likelihood):
    """A mixture of diagonal normals over each vector: weights, means and standard deviations from the decoder.

    Args:
        components: how many normals.
        minimum: where log sigma is softly clipped.
    """

    def __init__(self, data: DataSpec, /, *, components: Annotated[int, Gt(0)] = 5, minimum: float = -6.0) -> None:
        super().__init__(data)
        if len(data.shape) > 2:
            raise ValueError(f"wants vectors or sequences of them, not examples of shape {data.shape}")
        self.components, self.minimum = components, minimum
        spread = torch.linspace(-1, 1, components) if components > 1 else torch.zeros(1)
        self.register_buffer("spread", spread[:, None], persistent=False)

    @property
    def parameter_shape(self) -> Shape:
        """``[..., K · (1 + 2 D)]``: a weight, D means and D log-scales for each of K components."""
        return (*self.data.shape[:-1], self.components * (1 + 2 * self.data.shape[-1]))

    def forward(self, h: Tensor) -> Distribution:
        """From ``[*, *parameter_shape]``; where it is zero, the means lie evenly between -1 and 1."""
        parts = h.unflatten(-1, (self.components, -1))
        loc, log_scale = parts[..., 1:].chunk(2, -1)
        normals = DiagonalNormal(loc + self.get_buffer("spread"), soft_clip(log_scale, self.minimum))
        weights = Categorical(logits=parts[..., 0], validate_args=False)
        return independent(MixtureSameFamily(weights, normals, validate_args=False), self.event_dims - 1)


class CategoricalLikelihood(Likelihood):
    """One probability for each value that a pixel can take, or for each symbol that a one-hot vector can be.

    Args:
        levels: how many values a pixel has; 0 asks the data set.
    """

    supports = frozenset({"binary", "unit", "one-hot"})

    def __init__(self, data: DataSpec, /, *, levels: Annotated[int, Ge(0)] = 0) -> None:
        super().__init__(data)
        self.one_hot = data.support == "one-hot"
        if self.one_hot and levels:
            raise ValueError("levels is for pixels, but this data set is one-hot")
        self.params_per_value = 1 if self.one_hot else _levels(data, levels)

    def forward(self, h: Tensor) -> Distribution:
        """From logits ``[*, levels · C, H, W]``, or ``[*, *shape]`` for one-hot data."""
        if self.one_hot:
            return independent(OneHot(h), self.event_dims - 1)
        return independent(Levels(self.split_parameters(h).movedim(0, -1)), self.event_dims)


class DiscretizedLogisticLikelihood(Likelihood):
    """A logistic integrated over the bin of each value (Salimans et al. 2017), location and scale from the decoder.

    Args:
        levels: how many values there are; 0 asks the data set.
        minimum: the least log-scale.
    """

    params_per_value = 2
    supports = frozenset({"binary", "unit"})

    def __init__(self, data: DataSpec, /, *, levels: Annotated[int, Ge(0)] = 0, minimum: float = -7.0) -> None:
        super().__init__(data)
        self.levels, self.minimum = _levels(data, levels), minimum

    def forward(self, h: Tensor) -> Distribution:
        """From locations and log-scales ``[*, 2 · C, H, W]``; a zero is the middle of the range."""
        loc, log_scale = self.split_parameters(h).unbind(0)
        return independent(
            DiscretizedLogistic(loc + 0.5, (log_scale - 2.0).clamp(min=self.minimum), self.levels), self.event_dims
        )


def _levels(data: DataSpec, asked: int) -> int:
    levels = asked or data.levels
    if levels < 2:
        raise ValueError("needs data with at least 2 levels, but this data set is continuous; give `levels`")
    return levels
