"""The Frechet distance of features (Heusel et al. 2017), named after the features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

import vaezoo
from vaezoo_quality.estimates import estimate
from vaezoo_quality.sets import SampleMetric

_RESAMPLES = 50


class Moments(NamedTuple):
    """The mean ``[D]`` and the covariance ``[D, D]`` of features, float64."""

    mean: Tensor
    covariance: Tensor


def moments(x: Tensor, weights: Tensor | None = None) -> Moments:
    """The moments of features ``[n, D]``, the covariance with n - 1 in the denominator.

    Args:
        x: the features.
        weights: how often each counts, ``[n]``, with the sum n; None for once.
    """
    x = x.double()
    weights = torch.ones(len(x), dtype=x.dtype, device=x.device) if weights is None else weights
    mean = (weights[:, None] * x).sum(0) / len(x)
    centred = x - mean
    return Moments(mean, centred.T @ (weights[:, None] * centred) / (len(x) - 1))


def frechet_distance(a: Moments, b: Moments) -> float:
    """The squared Frechet distance of the normals with these moments (Dowson & Landau 1982).

    ``|m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a^1/2 C_b C_a^1/2)^1/2)``. The trace of the root is the
    sum of the roots of the eigenvalues of a symmetric product, so that nothing is complex.

    Example:
        >>> import torch
        >>> from vaezoo_quality.frechet import Moments, frechet_distance
        >>> zero, one = torch.zeros(2).double(), torch.ones(2).double()
        >>> round(frechet_distance(Moments(zero, one.diag()), Moments(one, one.diag())), 6)
        2.0
    """
    values, vectors = torch.linalg.eigh(a.covariance)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    product = root @ b.covariance @ root
    shared = torch.linalg.eigvalsh((product + product.T) / 2).clamp(min=0).sqrt().sum()
    traces = a.covariance.trace() + b.covariance.trace()
    return float((a.mean - b.mean).square().sum() + traces - 2 * shared)


def resampled_variance(real: Tensor, samples: Tensor) -> float:
    """The variance of the distance over real examples ``[n, D]``, by the bootstrap."""
    fixed, values = moments(samples), []
    for _ in range(_RESAMPLES):
        chosen = torch.randint(len(real), (len(real),), device=real.device)
        weights = torch.bincount(chosen, minlength=len(real)).double()
        values.append(frechet_distance(moments(real, weights), fixed))
    return float(torch.tensor(values).double().var())


class FrechetDistance(SampleMetric):
    """How far the mean and the covariance of samples' features are from those of real examples.

    The squared Frechet distance of Heusel et al. 2017 between normals with these moments, in named
    features: ``mnist_fd`` is that of the network of ``features/mnist``. It is not FID, whose
    features are those of one Inception network. The distance depends on the number of samples, so
    that only values with equal numbers compare. The ``floor`` is the distance of as many training
    examples, the ``ceiling`` that of examples whose pixels are shuffled. The standard error
    includes the draw of samples, by several independent draws, and that of real examples, by the
    bootstrap.

    Args:
        features: the name of features in a registry.
        samples: the number of samples in a draw, and of real examples.
        draws: the number of independent draws.
        sampler: the sampler of the spec that draws; null takes the prior.
    """

    lower_is_better = frozenset({"*_fd"})

    def __call__(self, model: vaezoo.Model, data: vaezoo.Loader) -> Mapping[str, vaezoo.Estimate]:
        """Returns ``TAG_fd`` with the tag of the features."""
        sets = self.sets(model, data)
        if sets.count < 2:
            raise NotImplementedError("needs at least two examples in each split")
        real = moments(sets.real)
        values = torch.tensor([frechet_distance(real, moments(x)) for x in sets.draws]).double()
        variance = float(values.var()) / len(values)
        variance += resampled_variance(sets.real, sets.draws[0])
        result = estimate(
            float(values.mean()),
            variance,
            sets,
            floor=frechet_distance(real, moments(sets.train)),
            ceiling=frechet_distance(real, moments(sets.noise)),
            unit="squared distance",
        )
        return {f"{sets.tag}_fd": result}
