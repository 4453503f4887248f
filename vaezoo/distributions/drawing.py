"""Draws that are bolder or more careful than the distribution itself."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, MixtureSameFamily, Normal

from vaezoo.distributions.discrete import BinaryLogits, Levels, OneHot
from vaezoo.distributions.normal import DiagonalNormal


def draw(distribution: Distribution, temperature: float = 1.0) -> Tensor:
    """A sample at a temperature: logits are divided by it, variances multiplied; at 0 the likeliest value.

    Args:
        distribution: with batch shape ``[*]`` and event shape ``[*event]``.
        temperature: 1 draws from the distribution itself.

    Returns:
        ``[*, *event]``.

    Raises:
        NotImplementedError: the temperature is not 1, and what it means for this distribution is not known.
    """
    if temperature == 1:
        return distribution.sample()
    if isinstance(distribution, Independent):
        return draw(distribution.base_dist, temperature)
    if temperature == 0:
        return _likeliest(distribution)
    return _tempered(distribution, temperature).sample()


def _likeliest(distribution: Distribution) -> Tensor:
    if isinstance(distribution, BinaryLogits):
        return (distribution.logits > 0).float()
    if isinstance(distribution, OneHot):
        best = distribution.log_probabilities.argmax(-1)
        return torch.nn.functional.one_hot(best, distribution.event_shape[-1]).float()
    if isinstance(distribution, Levels):
        return distribution.log_probabilities.argmax(-1) / (distribution.levels - 1)
    if isinstance(distribution, MixtureSameFamily):
        best = distribution.mixture_distribution.logits.argmax(-1)
        means = distribution.component_distribution.mean  # [*, C, D]
        return means.gather(-2, best[..., None, None].expand(*best.shape, 1, means.shape[-1])).squeeze(-2)
    return distribution.mean


def _tempered(distribution: Distribution, temperature: float) -> Distribution:
    if isinstance(distribution, BinaryLogits):
        return BinaryLogits(distribution.logits / temperature, distribution.event_dims)
    if isinstance(distribution, OneHot):
        return OneHot(distribution.log_probabilities / temperature)
    if isinstance(distribution, Levels):
        return Levels(distribution.log_probabilities / temperature)
    if isinstance(distribution, Normal):
        return Normal(distribution.loc, distribution.scale * temperature**0.5, validate_args=False)
    if isinstance(distribution, DiagonalNormal):
        return DiagonalNormal(distribution.loc, distribution.log_scale + 0.5 * math.log(temperature))
    if isinstance(distribution, MixtureSameFamily):
        logits = distribution.mixture_distribution.logits / temperature
        parts = _tempered(distribution.component_distribution, temperature)
        return MixtureSameFamily(torch.distributions.Categorical(logits=logits), parts, validate_args=False)
    raise NotImplementedError(f"a temperature is not defined for {type(distribution).__name__}")
