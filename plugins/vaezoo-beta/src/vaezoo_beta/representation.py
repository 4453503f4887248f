"""Posterior means and known factors as numpy arrays, and helpers that all scores share."""

from __future__ import annotations

import numpy as np
import torch

import vaezoo


def represent(
    model: vaezoo.Model, data: vaezoo.Loader, limit: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Computes the posterior means of examples, and returns them with the examples' factors.

    Args:
        model: the model.
        data: a split with ``factors``.
        limit: the number of examples, drawn without replacement, in random order; 0 for all.
        seed: the seed of that choice.

    Returns:
        Means, float64 ``[n, D]``, and factors, int64 ``[n, F]``: the indices of the values of
        those factors that vary among the examples.

    Raises:
        NotImplementedError: the factors are not known, or none of them varies.
    """
    if data.split.factors is None:
        raise NotImplementedError("needs data with known factors")
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))
    subset = data.split.select(order[: limit or None])
    loader = vaezoo.Loader(subset, data.device, data.batch_size, workers=data.workers)
    means = torch.cat([model.posterior_mean(batch) for batch in loader.ordered()]).cpu()
    in_order = means.new_zeros(len(data), means.shape[1])
    in_order[order[: len(means)]] = means
    vaezoo.require_finite(in_order, "the posterior mean of example")
    assert subset.factors is not None
    factors = subset.factors.cpu().numpy()
    varies = factors.min(0) < factors.max(0)
    if not varies.any():
        raise NotImplementedError("needs a factor that varies")
    return means.double().numpy(), factors[:, varies]


def fresh_seed() -> int:
    """Draws a seed for numpy and scikit-learn from torch, which ``evaluate`` seeds per metric."""
    return int(torch.randint(2**31, ()))


def require_two_factors(factors: np.ndarray) -> None:
    """Checks that a score that compares factors with each other has at least two, ``[n, F]``.

    Raises:
        NotImplementedError: there are fewer than two.
    """
    if factors.shape[1] < 2:
        raise NotImplementedError("needs at least two factors that vary")


def score(value: float, examples: int, **details: float) -> vaezoo.Estimate:
    """An estimate of a score between 0 and 1, which has no standard error."""
    return vaezoo.Estimate(value, None, examples, details, unit="score")


def standardize(features: np.ndarray, train: int) -> np.ndarray:
    """Scales each column to mean 0 and variance 1 over its first rows; a constant becomes 0.

    Args:
        features: ``[n, D]``.
        train: the number of rows that mean and variance are computed from.
    """
    mean, scale = vaezoo.mean_and_scale(features[:train])
    return (features - mean) / scale
