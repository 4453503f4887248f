"""What is known of the density of a distribution."""

from __future__ import annotations

from typing import Literal, TypeAlias

from torch.distributions import Distribution

Density: TypeAlias = Literal["none", "bound", "exact"]
"""``exact``: ``log_prob`` is the log-density. ``bound``: it is a lower bound of it, or an unbiased
estimate of one. ``none``: there is no ``log_prob``, only samples."""

DENSITIES: tuple[Density, ...] = ("none", "bound", "exact")
"""The kinds of density, weakest first."""


def density_of(distribution: Distribution) -> Density:
    """The attribute ``density`` of a distribution; ``exact`` if it has none, as in torch."""
    density: Density = getattr(distribution, "density", "exact")
    return density
