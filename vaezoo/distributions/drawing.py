"""Samples of distributions: at a temperature, and n samples of a prior.

A distribution of a plugin has a temperature if it has a method ``tempered(temperature)``, which
returns the distribution at a temperature above 0, and a most probable value if it has the property
``mode``. For a class that cannot be changed, ``tempered.register`` adds a function.
"""

from __future__ import annotations

from contextlib import suppress
from functools import singledispatch

import torch
from torch import Tensor
from torch.distributions import (
    Categorical,
    Distribution,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
    OneHotCategorical,
)


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
        return mode(distribution)
    return tempered(distribution, temperature).sample()


def sample_prior(prior: Distribution, n: int, temperature: float = 1.0) -> Tensor:
    """n samples ``[n, *event]`` of a prior, which is one for all (no batch shape) or one for each.

    Args:
        prior: with batch shape ``[]`` or ``[n]``.
        n: the number of samples.
        temperature: as for ``draw``.

    Raises:
        NotImplementedError: a temperature other than 0 and 1 is not defined for this prior.
    """
    if prior.batch_shape:
        return draw(prior, temperature)
    if temperature == 0:
        return mode(prior).expand(n, *prior.event_shape)  # [n, *event]
    at_temperature = prior if temperature == 1 else tempered(prior, temperature)
    return at_temperature.sample(torch.Size((n,)))


def mode(distribution: Distribution) -> Tensor:
    """The most probable value ``[*, *event]``; the mean of a distribution without ``mode``.

    For a mixture it is that of its most probable component.

    Raises:
        NotImplementedError: the distribution has neither.
    """
    if isinstance(distribution, Independent):
        return mode(distribution.base_dist)
    if isinstance(distribution, MixtureSameFamily):
        best = distribution.mixture_distribution.logits.argmax(-1)  # [*]
        modes = mode(distribution.component_distribution)  # [*, C, *event]
        event = modes.shape[best.dim() + 1 :]
        index = best.reshape(*best.shape, 1, *(1,) * len(event))  # [*, 1, ...]
        return modes.gather(best.dim(), index.expand(*best.shape, 1, *event)).squeeze(best.dim())
    for attribute in ("mode", "mean"):
        with suppress(NotImplementedError):
            value: Tensor = getattr(distribution, attribute)
            return value
    raise NotImplementedError(
        f"the most probable value is not defined for {type(distribution).__name__}"
    )


@singledispatch
def tempered(distribution: Distribution, temperature: float) -> Distribution:
    """The distribution at a temperature above 0.

    Raises:
        NotImplementedError: it is not defined for this distribution.
    """
    if not hasattr(distribution, "tempered"):
        raise NotImplementedError(
            f"a temperature is not defined for {type(distribution).__name__}"
        )
    result: Distribution = distribution.tempered(temperature)
    return result


@tempered.register(Independent)
def _(distribution: Independent, temperature: float) -> Distribution:
    base = tempered(distribution.base_dist, temperature)
    return Independent(base, distribution.reinterpreted_batch_ndims, validate_args=False)


@tempered.register(Normal)
def _(distribution: Normal, temperature: float) -> Distribution:
    return Normal(distribution.loc, distribution.scale * temperature**0.5, validate_args=False)


@tempered.register(MultivariateNormal)
def _(distribution: MultivariateNormal, temperature: float) -> Distribution:
    scale_tril = distribution.scale_tril * temperature**0.5
    return MultivariateNormal(distribution.loc, scale_tril=scale_tril, validate_args=False)


@tempered.register(Categorical)
@tempered.register(OneHotCategorical)
def _(distribution: Categorical | OneHotCategorical, temperature: float) -> Distribution:
    logits = distribution.logits / temperature
    return type(distribution)(logits=logits, validate_args=False)


@tempered.register(MixtureSameFamily)
def _(distribution: MixtureSameFamily, temperature: float) -> Distribution:
    logits = distribution.mixture_distribution.logits / temperature
    mixture = Categorical(logits=logits, validate_args=False)
    components = tempered(distribution.component_distribution, temperature)
    return MixtureSameFamily(mixture, components, validate_args=False)
