"""How far samples cover real images and real images cover samples, with standard errors.

Shapes: R draws of samples, n real images, m samples of a draw, D features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

import vaezoo

NEIGHBOURS = 3
FOLDS = 5
"""The parts of the real images whose differences tell the error of precision."""
_BLOCK = 1000  # points whose distances to all others are computed at once


def coverage(points: Tensor, manifold: Tensor, neighbours: int = NEIGHBOURS) -> Tensor:
    """Which points lie within the manifold of others (Kynkaanniemi et al. 2019, eq. 1), ``[n]``.

    With real points and a generated manifold their mean is the recall; with generated points and a
    real manifold, the precision.

    Args:
        points: features ``[n, D]``.
        manifold: features ``[m, D]``: the manifold is the union of balls around them, each of
            which reaches to its ``neighbours``-th nearest neighbour.
        neighbours: which neighbour sets the radius of a ball.
    """
    radius = torch.cat(
        [
            # several times faster than kthvalue
            torch.cdist(block, manifold).topk(neighbours + 1, 1, largest=False).values[:, -1]
            for block in manifold.split(_BLOCK)
        ]
    )
    return torch.cat(
        [(torch.cdist(block, manifold) <= radius).any(1) for block in points.split(_BLOCK)]
    )


@dataclass(frozen=True)
class Coverage:
    """What lies within which manifold, for several independent draws of samples.

    Attributes:
        recall: whether each real image is within the manifold of the samples of a draw, ``[R,
            n]``.
        precision: whether each sample of a draw is within the manifold of real images, ``[R, m]``.
        precision_of_folds: whether each sample of the first draw is within the manifold of each
            fold of the real images, ``[FOLDS, m]``.
    """

    recall: Tensor
    precision: Tensor
    precision_of_folds: Tensor

    @classmethod
    def of(cls, real: Tensor, draws: Sequence[Tensor]) -> Coverage:
        """Compares features of real images ``[n, D]`` with those of R draws, ``[m, D]`` each.

        Raises:
            NotImplementedError: there are too few real images.
        """
        if len(real) < FOLDS * (NEIGHBOURS + 1):
            least = FOLDS * (NEIGHBOURS + 1)
            raise NotImplementedError(f"needs at least {least} real images, got {len(real)}")
        fold = torch.arange(len(real), device=real.device) % FOLDS
        return cls(
            torch.stack([coverage(real, samples) for samples in draws]),
            torch.stack([coverage(samples, real) for samples in draws]),
            torch.stack([coverage(draws[0], real[fold == k]) for k in range(FOLDS)]),
        )

    @classmethod
    def pool(cls, groups: Sequence[Coverage]) -> Coverage:
        """The images of all groups, each of which was compared with samples of its own."""
        names = [field.name for field in fields(cls)]
        return cls(*(torch.cat([getattr(group, name) for group in groups], 1) for name in names))

    def estimate_recall(self, **details: float) -> vaezoo.Estimate:
        """The share of real images that samples cover.

        The variance is that between draws, whose samples form the manifold of all real images
        together, plus that over real images.
        """
        inside = self.recall.double()  # [R, n]
        variance = _between(inside) + inside.mean(0).var() / inside.shape[1]
        return _share(inside, variance, inside.shape[1], details)

    def estimate_precision(self, **details: float) -> vaezoo.Estimate:
        """The share of samples that real images cover.

        The variance is that between draws, plus that over the real images, which form the manifold
        of all samples together: the variance between their folds, divided by the number of folds.
        """
        inside = self.precision.double()  # [R, m]
        means = self.precision_of_folds.double().mean(1)  # [FOLDS]
        variance = _between(inside) + means.var() / FOLDS
        return _share(inside, variance, inside.numel(), details)


def _between(inside: Tensor) -> Tensor:
    """The variance of the mean over R draws ``[R, n]``, from the spread between them."""
    return inside.mean(1).var() / len(inside)


def _share(
    inside: Tensor, variance: Tensor, examples: int, details: dict[str, float]
) -> vaezoo.Estimate:
    details = {"draws": float(len(inside)), **details}
    error = float(variance.sqrt())
    return vaezoo.Estimate(float(inside.mean()), error, examples, details, unit="share")
