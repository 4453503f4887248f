"""Samples of distributions: at a temperature, and n samples of a prior."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, MixtureSameFamily, Normal

from vaezoo.distributions.discrete import BinaryLogits, CategoricalLevels, OneHot
from vaezoo.distributions.normal import DiagonalNormal


def draw(distribution: Distribution, temperature: float = 1.0) -> Tensor:
    """Samples a distribution at a temperature.

    Logits are divided by the temperature, variances are multiplied by it.

    Args:
        distribution: with batch shape ``[*]`` and event shape ``[*event]``.
        temperature: 1 samples the distribution itself, 0 returns its most probable value.

    Returns:
        ``[*, *event]``.

    Raises:
        NotImplementedError: a temperature other than 0 and 1 is not defined for this distribution.
    """
    if temperature == 1:
        return distribution.sample()
    if isinstance(distribution, Independent):
        return draw(distribution.base_dist, temperature)
    if temperature == 0:
        return _mode(distribution)
    return _tempered(distribution, temperature).sample()


def sample_prior(prior: Distribution, n: int) -> Tensor:
    """n samples ``[n, *event]`` of a prior, which is one for all (no batch shape) or one for each.

    Args:
        prior: with batch shape ``[]`` or ``[n]``.
        n: the number of samples.
    """
    return prior.sample() if prior.batch_shape else prior.sample(torch.Size((n,)))


def _mode(distribution: Distribution) -> Tensor:
    """The most probable value; of a mixture, the mean of its most probable component."""
    if isinstance(distribution, BinaryLogits):
        return (distribution.logits > 0).float()
    if isinstance(distribution, OneHot):
        best = distribution.log_probabilities.argmax(-1)  # [*]
        return torch.nn.functional.one_hot(best, distribution.event_shape[-1]).float()
    if isinstance(distribution, CategoricalLevels):
        return distribution.log_probabilities.argmax(-1) / (distribution.num_levels - 1)
    if isinstance(distribution, MixtureSameFamily):
        best = distribution.mixture_distribution.logits.argmax(-1)  # [*]
        means = distribution.component_distribution.mean  # [*, C, D]
        index = best[..., None, None].expand(*best.shape, 1, means.shape[-1])  # [*, 1, D]
        return means.gather(-2, index).squeeze(-2)  # [*, D]
    return distribution.mean


def _tempered(distribution: Distribution, temperature: float) -> Distribution:
    """The distribution at a temperature other than 0."""
    if isinstance(distribution, BinaryLogits):
        return BinaryLogits(distribution.logits / temperature, distribution.event_dims)
    if isinstance(distribution, OneHot):
        return OneHot(distribution.log_probabilities / temperature)
    if isinstance(distribution, CategoricalLevels):
        return CategoricalLevels(distribution.log_probabilities / temperature)
    if isinstance(distribution, Normal):
        return Normal(distribution.loc, distribution.scale * temperature**0.5, validate_args=False)
    if isinstance(distribution, DiagonalNormal):
        log_scale = distribution.log_scale + 0.5 * math.log(temperature)
        return DiagonalNormal(distribution.loc, log_scale)
    if isinstance(distribution, MixtureSameFamily):
        logits = distribution.mixture_distribution.logits / temperature
        mixture = torch.distributions.Categorical(logits=logits)
        components = _tempered(distribution.component_distribution, temperature)
        return MixtureSameFamily(mixture, components, validate_args=False)
    raise NotImplementedError(f"a temperature is not defined for {type(distribution).__name__}")
