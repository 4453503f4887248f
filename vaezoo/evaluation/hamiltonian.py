"""Hamiltonian Monte Carlo along a geometric path between two densities (Neal 2011).

Shapes: C chains of each of B examples, ``*event`` the shape of a latent variable. Densities are
in nats and need not be normalised.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Densities = Callable[[Tensor], tuple[Tensor, Tensor]]
"""The log-density of the start of a path and the log-ratio of its end to its start, ``[C, B]``
each, at points ``[C, B, *event]``."""

_TARGET = 0.8
"""The share of proposals that adaptation aims at. The best one of many dimensions is 0.65 (Beskos
et al. 2013); with few the steps of that share are so long that chains mix slowly."""
_JITTER = 0.5
"""How far a step size is varied at random to both sides, as a share of it: trajectories of one
length may return to where they began (Neal 2011, section 3.2)."""
_FIRST_STEP = 0.5
_GAIN = 0.3
"""How much the logarithm of a step size changes per deviation of the acceptance."""


@dataclass(frozen=True)
class Point:
    """Points of all chains, with the densities there and their gradients.

    Attributes:
        z: ``[C, B, *event]``.
        start: the log-density of the start of the path, ``[C, B]``.
        ratio: the log-ratio of its end to its start, ``[C, B]``.
        start_gradient, ratio_gradient: ``[C, B, *event]``.
    """

    z: Tensor
    start: Tensor
    ratio: Tensor
    start_gradient: Tensor
    ratio_gradient: Tensor

    @classmethod
    def at(cls, z: Tensor, densities: Densities) -> Point:
        """The densities at points, and their gradients.

        Raises:
            NotImplementedError: a density has no gradient.
        """
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            start, ratio = densities(z)
            if not (start.requires_grad and ratio.requires_grad):
                raise NotImplementedError("log p(x|z) or log p(z) has no gradient in z")
            (start_gradient,) = torch.autograd.grad(start.sum(), z, retain_graph=True)
            (ratio_gradient,) = torch.autograd.grad(ratio.sum(), z)
        return cls(z.detach(), start.detach(), ratio.detach(), start_gradient, ratio_gradient)

    def log_density(self, beta: float) -> Tensor:
        """The log-density of the path at ``beta``: 0 is its start, 1 its end, ``[C, B]``."""
        return self.start + beta * self.ratio

    def gradient(self, beta: float) -> Tensor:
        """The gradient of ``log_density``, ``[C, B, *event]``."""
        return self.start_gradient + beta * self.ratio_gradient

    def where(self, accepted: Tensor, other: Point) -> Point:
        """This point where ``accepted`` ``[C, B]`` is true, and the other elsewhere."""
        wide = accepted.reshape(*accepted.shape, *(1,) * (self.z.dim() - 2))  # [C, B, 1, ...]
        return Point(
            torch.where(wide, self.z, other.z),
            torch.where(accepted, self.start, other.start),
            torch.where(accepted, self.ratio, other.ratio),
            torch.where(wide, self.start_gradient, other.start_gradient),
            torch.where(wide, self.ratio_gradient, other.ratio_gradient),
        )


def transition(
    point: Point, beta: float, densities: Densities, step: Tensor, leaps: int
) -> tuple[Point, Tensor]:
    """One transition that leaves the density of the path at ``beta`` invariant.

    Momenta are drawn from N(0, I); the end of the leapfrog trajectory is accepted or rejected by
    Metropolis's rule (Neal 2011, figure 2).

    Args:
        point: where the chains are.
        beta: the place on the path.
        densities: those of the path.
        step: the step size of each example, ``[B]``; it is varied at random.
        leaps: the number of leapfrog steps.

    Returns:
        Where the chains are next, and which proposals were accepted, bool ``[C, B]``.
    """
    varied = step * (1 + _JITTER * (2 * torch.rand_like(point.ratio) - 1))  # [C, B]
    size = varied.reshape(*varied.shape, *(1,) * (point.z.dim() - 2))  # [C, B, 1, ...]
    momentum = first = torch.randn_like(point.z)
    proposal = point
    for _ in range(leaps):
        momentum = momentum + 0.5 * size * proposal.gradient(beta)
        proposal = Point.at(proposal.z + size * momentum, densities)
        momentum = momentum + 0.5 * size * proposal.gradient(beta)
    gain = proposal.log_density(beta) - point.log_density(beta)
    gain = gain - 0.5 * (momentum.square() - first.square()).flatten(2).sum(-1)  # [C, B]
    accepted = torch.rand_like(gain).log() < gain  # false for NaN: a trajectory that diverged
    return proposal.where(accepted, point), accepted


def adapt_steps(
    point: Point, betas: list[float], densities: Densities, leaps: int, warmup: int
) -> Tensor:
    """Step sizes at places of the path, found by chains that are then thrown away.

    The chains of an annealing must not be those that its step sizes are adapted to: its weights
    are unbiased only with transitions that do not depend on where the chains were.

    Args:
        point: where the chains start.
        betas: the places, ascending.
        densities: those of the path.
        leaps: the number of leapfrog steps.
        warmup: the number of transitions at the first place before its step size is recorded.

    Returns:
        The step size of each example at each place, ``[len(betas), B]``.
    """
    log_step = torch.full_like(point.ratio[0], _FIRST_STEP).log()  # [B]
    steps = []
    for place, beta in enumerate(betas):
        for _ in range(1 if place else 1 + warmup):
            point, accepted = transition(point, beta, densities, log_step.exp(), leaps)
            rate = accepted.to(log_step.dtype).mean(0)
            log_step = log_step + _GAIN * (rate - _TARGET)
        steps.append(log_step.exp())
    return torch.stack(steps)
