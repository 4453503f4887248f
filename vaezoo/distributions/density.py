"""What is known of the density of a distribution."""

from __future__ import annotations

from typing import Literal, TypeAlias

from torch.distributions import (
    Distribution,
    Independent,
    MixtureSameFamily,
    TransformedDistribution,
)

Density: TypeAlias = Literal["none", "bound", "exact"]
"""``exact``: ``log_prob`` is the log-density. ``bound``: it is a lower bound of it, or an unbiased
estimate of one, which is of use for priors only. ``none``: there is no ``log_prob``, only samples.
"""

DENSITIES: tuple[Density, ...] = ("none", "bound", "exact")
"""The kinds of density, weakest first."""


def density_of(distribution: Distribution) -> Density:
    """The attribute ``density`` of a distribution, or of what it is made of; else ``exact``."""
    while not hasattr(distribution, "density"):
        if isinstance(distribution, MixtureSameFamily):
            distribution = distribution.component_distribution
        elif isinstance(distribution, Independent | TransformedDistribution):
            distribution = distribution.base_dist
        else:
            return "exact"
    density: Density = distribution.density
    return density
