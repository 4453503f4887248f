"""Precision, recall, density and coverage of samples, by nearest neighbours in features.

Shapes: n real examples, m samples of a draw, D features.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor

import vaezoo
from vaezoo_quality.distances import distance_blocks, radii
from vaezoo_quality.estimates import estimate
from vaezoo_quality.sets import MNIST, SampleMetric, Sets

_SUBSETS = 10
"""The subsets of the real examples whose differences tell the errors of three numbers."""
NAMES = ("precision", "recall", "density", "coverage")


@dataclass(frozen=True)
class Comparison:
    """What lies within the balls around real examples and samples.

    A ball reaches to the k-th nearest other example of its own set.

    Attributes:
        balls: how many balls around real examples contain each sample, ``[m]``.
        recalled: whether each real example is in the ball of a sample, ``[n]``.
        covered: whether the ball of each real example contains a sample, ``[n]``.
        neighbours: k.
    """

    balls: Tensor
    recalled: Tensor
    covered: Tensor
    neighbours: int

    @classmethod
    def of(
        cls, real: Tensor, samples: Tensor, neighbours: int, real_radii: Tensor | None = None
    ) -> Comparison:
        """Compares real features ``[n, D]`` with those of samples ``[m, D]``.

        Args:
            real, samples: the features; both have more rows than ``neighbours``.
            neighbours: k.
            real_radii: ``radii(real, neighbours)``, if it is known.
        """
        reach = radii(real, neighbours) if real_radii is None else real_radii  # [n]
        own_reach = radii(samples, neighbours)  # [m]
        recalled = torch.zeros(len(real), dtype=torch.bool, device=real.device)
        covered, balls = recalled.clone(), []
        for rows, squares in distance_blocks(samples, real):
            inside = squares <= reach  # [b, n]
            covered |= inside.any(0)
            recalled |= (squares <= own_reach[rows, None]).any(0)
            balls.append(inside.sum(1))
        return cls(torch.cat(balls), recalled, covered, neighbours)

    def values(self) -> dict[str, float]:
        """Precision, recall, density and coverage."""
        return {
            **_of_balls(self.balls, self.neighbours),
            "recall": float(self.recalled.double().mean()),
            "coverage": float(self.covered.double().mean()),
        }


def _of_balls(balls: Tensor, neighbours: int) -> dict[str, float]:
    """Precision and density, of how many balls of real examples contain each sample ``[m]``."""
    return {
        "precision": float((balls > 0).double().mean()),
        "density": float(balls.double().mean()) / neighbours,
    }


def variances_over_real(
    real: Tensor, samples: Tensor, draws: Sequence[Comparison]
) -> dict[str, float]:
    """The variance of each number over real examples, given the samples.

    Whether a real example is recalled depends on no other: recall is a mean of independent
    values. The other numbers depend on the radii, which all real examples have in common. Their
    variance is that of the number between random subsets of the real examples, scaled to the
    whole (the delete-d jackknife, Shao and Wu 1989).

    Args:
        real: features ``[n, D]``.
        samples: those of one draw, ``[m, D]``.
        draws: the comparison of each draw.
    """
    subsets = random_subsets(len(real), real.device)
    parts = compare_subsets(real, samples, draws[0].neighbours, subsets)
    kept = int(subsets[0].sum())
    scale = kept / (len(real) - kept)
    recalled = torch.stack([each.recalled for each in draws]).double().mean(0)  # [n]
    return {
        "recall": float(recalled.var()) / len(real),
        **{name: scale * _variance(each[name] for each in parts) for name in parts[0]},
    }


def random_subsets(count: int, device: torch.device) -> Tensor:
    """Random subsets of three quarters of ``count`` examples, bool ``[S, count]``.

    Precision may depend on one unusual example with a large ball. Subsets that leave out fewer
    examples state more than its true variance, and those that leave out more state less.
    """
    generator = torch.Generator().manual_seed(0)
    order = torch.stack([torch.randperm(count, generator=generator) for _ in range(_SUBSETS)])
    return (order < count * 3 // 4).to(device)


def compare_subsets(
    real: Tensor, samples: Tensor, neighbours: int, subsets: Tensor
) -> list[dict[str, float]]:
    """Precision, density and coverage of samples among each subset of the real examples.

    Args:
        real: features ``[n, D]``.
        samples: features ``[m, D]``.
        neighbours: k.
        subsets: which examples each has, bool ``[S, n]``, of more than k examples.
    """
    reach = _radii_within(real, neighbours, subsets)  # [S, n]
    covered, balls = torch.zeros_like(subsets), []
    for _, squares in distance_blocks(samples, real):
        counts = []
        for within, found in zip(reach, covered, strict=True):
            inside = squares <= within  # [b, n]
            found |= inside.any(0)
            counts.append(inside.sum(1))
        balls.append(torch.stack(counts))  # [S, b]
    shares = covered.sum(1).double() / subsets.sum(1)  # [S]
    return [
        {**_of_balls(each, neighbours), "coverage": float(share)}
        for each, share in zip(torch.cat(balls, 1), shares, strict=True)
    ]


def _radii_within(real: Tensor, neighbours: int, subsets: Tensor) -> Tensor:
    """The squared radii of balls among the examples of each subset ``[S, n]``; -inf of others."""
    reach = torch.full(subsets.shape, -torch.inf, dtype=torch.double, device=real.device)
    count = min(len(real), 4 * neighbours + 40)  # of which more than k are in a subset
    for rows, squares in distance_blocks(real, real):
        near = squares.topk(count, 1, largest=False)  # sorted; the nearest is the row itself
        for subset, radius in zip(subsets, reach, strict=True):
            closer = subset[near.indices].cumsum(1) <= neighbours  # [b, count]
            last = closer.sum(1, keepdim=True).clamp(max=count - 1)
            radius[rows] = near.values.gather(1, last).squeeze(1)
    return reach.masked_fill(~subsets, -torch.inf)


def _variance(values: Iterable[float]) -> float:
    return float(torch.tensor(list(values)).double().var())


def compare(sets: Sets, neighbours: int) -> dict[str, vaezoo.Estimate]:
    """The estimates of precision, recall, density and coverage by name."""
    reach = radii(sets.real, neighbours)

    def numbers(samples: Tensor) -> Comparison:
        return Comparison.of(sets.real, samples, neighbours, reach)

    draws = [numbers(samples) for samples in sets.draws]
    floor, ceiling = numbers(sets.train).values(), numbers(sets.noise).values()
    variances = variances_over_real(sets.real, sets.draws[0], draws)
    of_draws, results = [each.values() for each in draws], {}
    for name in NAMES:
        values = [each[name] for each in of_draws]
        results[name] = estimate(
            sum(values) / len(values),
            _variance(values) / len(values) + variances[name],
            sets,
            floor=floor[name],
            ceiling=ceiling[name],
            unit="balls per sample and neighbour" if name == "density" else "share",
            more={"neighbours": float(neighbours)},
        )
    return results


class PRDC(SampleMetric):
    """Precision and recall, density and coverage of samples among real examples.

    Precision is the share of samples in a ball around a real example, recall the share of real
    examples in a ball around a sample (Kynkaanniemi et al. 2019, eq. 1); a ball reaches to the
    k-th nearest other example. Density is how many balls around real examples contain a sample,
    divided by k, and coverage the share of these balls that contain a sample (Naeem et al. 2020,
    eqs. 2 and 3). They are named after the features: ``mnist_recall`` is that of the network of
    ``features/mnist``. All depend on the number of samples, so that only values with equal numbers
    compare. The ``floor`` is the number of as many training examples in place of samples, the
    ``ceiling`` that of examples whose pixels are shuffled. The standard errors include the draw of
    samples and that of real examples.

    Args:
        features: the name of features in a registry.
        samples: the number of samples in a draw, and of real examples.
        draws: the number of independent draws.
        sampler: the sampler of the spec that draws; null takes the prior.
        neighbours: which neighbour sets the radius of a ball.
    """

    higher_is_better = frozenset(f"*_{name}" for name in NAMES)

    def __init__(
        self,
        *,
        features: str = MNIST,
        samples: Annotated[int, Ge(2)] = 10_000,
        draws: Annotated[int, Ge(2)] = 5,
        sampler: str | None = None,
        neighbours: Annotated[int, Ge(1)] = 5,
    ) -> None:
        super().__init__(features=features, samples=samples, draws=draws, sampler=sampler)
        self.neighbours = neighbours

    def __call__(self, model: vaezoo.Model, data: vaezoo.Loader) -> Mapping[str, vaezoo.Estimate]:
        """Returns ``TAG_precision``, ``TAG_recall``, ``TAG_density`` and ``TAG_coverage``."""
        sets = self.sets(model, data)
        least = 10 * (self.neighbours + 1)  # much more than a ball holds
        if sets.count < least:
            raise NotImplementedError(f"needs at least {least} examples in each split")
        results = compare(sets, self.neighbours)
        return {f"{sets.tag}_{name}": each for name, each in results.items()}
