"""From a model and data with known factors to plain arrays, which the scores compare."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Subset

import vaezoo


def represent(model: vaezoo.Model, data: vaezoo.Loader, limit: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Posterior means beside the factors that the examples were made from.

    Args:
        model: gives the means.
        data: a split with ``factors``.
        limit: how many examples, drawn without replacement and in random order; 0 for all.
        seed: of the draw.

    Returns:
        Means, float64 ``[n, D]``, and the indices of the values of those factors that vary among the examples, int64
        ``[n, F]``.

    Raises:
        NotImplementedError: the factors are not known, or none varies.
    """
    if data.split.factors is None:
        raise NotImplementedError("needs data with known factors")
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))
    part = _part(data.split, order[: limit or None])
    loader = vaezoo.Loader(part, data.device, data.batch_size, workers=data.workers)
    means = torch.cat([model.posterior_mean(batch) for batch in loader.ordered()])
    assert part.factors is not None
    factors = part.factors.cpu().numpy()
    varies = factors.min(0) < factors.max(0)
    if not varies.any():
        raise NotImplementedError("needs a factor that varies")
    return means.double().cpu().numpy(), factors[:, varies]


def _part(split: vaezoo.Split, index: Tensor) -> vaezoo.Split:
    """The examples of a split at ``index``."""

    def take(values: Tensor | None) -> Tensor | None:
        return None if values is None else values[index.to(values.device)]

    x = take(split.x) if isinstance(split.x, Tensor) else Subset(split.x, index.tolist())
    assert x is not None
    return replace(
        split,
        x=x,
        condition=take(split.condition),
        mask=take(split.mask),
        factors=take(split.factors),
        epoch_order=None,
    )


def fresh_seed() -> int:
    """A seed for numpy and scikit-learn from torch's stream, which ``evaluate`` seeds for each metric."""
    return int(torch.randint(2**31, ()))


def need_two(factors: np.ndarray) -> None:
    """Refuses factors ``[n, F]`` where the score would compare one with itself.

    Raises:
        NotImplementedError: there are fewer than two.
    """
    if factors.shape[1] < 2:
        raise NotImplementedError("needs at least two factors that vary")


def score(value: float, examples: int, **details: float) -> vaezoo.Estimate:
    """A score between 0 and 1; none of these has a standard error."""
    return vaezoo.Estimate(value, None, examples, details, "score")


def standardised(features: np.ndarray, train: int) -> np.ndarray:
    """Brings each column of ``[n, D]`` to mean 0 and variance 1 over the first ``train`` rows, a constant one to 0."""
    seen = features[:train]
    varies = seen.min(0) < seen.max(0)  # the variance of a constant is rounding, not 0
    return np.where(varies, features - seen.mean(0), 0.0) / np.where(varies, seen.std(0), 1.0)
