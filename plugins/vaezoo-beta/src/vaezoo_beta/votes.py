"""Scores from many trials: fix a factor, draw examples that share its value, predict the factor.

Shapes: n examples, D latent dimensions, F factors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge

import vaezoo
from vaezoo_beta.representation import (
    fresh_seed,
    represent,
    require_two_factors,
    score,
    standardize,
)
from vaezoo_beta.scores import Count

_SCALARS_AT_ONCE = 2**22  # bounds the memory of a block of trials


@dataclass(frozen=True)
class _Groups:
    """Examples, grouped by the value of one factor.

    Attributes:
        order: the indices of the examples, sorted by value, ``[n]``.
        starts, sizes: the position in ``order`` at which each group starts, and the size of each
            group, ``[groups]``.
    """

    order: np.ndarray
    starts: np.ndarray
    sizes: np.ndarray

    @classmethod
    def from_values(cls, values: np.ndarray, min_size: int) -> _Groups:
        """Groups examples with values ``[n]``, leaving out groups of fewer than ``min_size``.

        Raises:
            NotImplementedError: no group is large enough.
        """
        _, starts, sizes = np.unique(np.sort(values), return_index=True, return_counts=True)
        large_enough = sizes >= min_size
        if not large_enough.any():
            raise NotImplementedError(
                f"needs a value of each factor that {min_size} examples share"
            )
        order = np.argsort(values, kind="stable")
        return cls(order, starts[large_enough], sizes[large_enough])

    def sample(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        """Draws indices of examples with replacement, of ``shape``.

        Examples along the last axis share a value.
        """
        group = rng.integers(len(self.sizes), size=(*shape[:-1], 1))
        position = (rng.random(shape) * self.sizes[group]).astype(np.int64)
        return self.order[self.starts[group] + position]


Trials = tuple[np.ndarray, np.ndarray]
"""The result of trials: the factor that was fixed ``[trials]``, and features ``[trials, D]``."""


def _run_trials(
    z: np.ndarray,
    factors: np.ndarray,
    *,
    trials: int,
    shape: tuple[int, ...],
    reduce: Callable[[np.ndarray], np.ndarray],
    seed: int,
) -> Trials:
    """Fixes a random factor in each trial and draws examples that share its value.

    Args:
        z: ``[n, D]``.
        factors: ``[n, F]``.
        trials: the number of trials.
        shape: the shape of the examples of one trial; those along the last axis share a value.
        reduce: maps the examples' representations ``[trials, *shape, D]`` to features ``[trials,
            D]``.
        seed: the seed of all random draws.
    """
    require_two_factors(factors)
    rng = np.random.default_rng(seed)
    fixed = rng.integers(factors.shape[1], size=trials)
    features = np.empty((trials, z.shape[1]))
    block_size = max(1, _SCALARS_AT_ONCE // (int(np.prod(shape)) * z.shape[1]))
    for factor, values in enumerate(factors.T):  # F columns [n]
        groups = _Groups.from_values(values, shape[-1])
        trial_indices = np.flatnonzero(fixed == factor)
        for start in range(0, len(trial_indices), block_size):
            block = trial_indices[start : start + block_size]
            features[block] = reduce(z[groups.sample((len(block), *shape), rng)])
    return fixed, features


def active_dimensions(means: np.ndarray, prune: float) -> np.ndarray:
    """Which dimensions of ``[n, D]`` have a variance of at least ``prune``, bool ``[D]``."""
    # Compares extremes, as rounding can make the variance of a constant nonzero.
    varies = means.min(0) < means.max(0)
    return varies & (means.var(0, ddof=1) >= prune)


def factor_vae_score(
    means: np.ndarray,
    factors: np.ndarray,
    *,
    train: int = 10_000,
    test: int = 5_000,
    batch: int = 64,
    prune: float = 0.05,
    seed: int = 0,
) -> float:
    """The accuracy of predicting the fixed factor from the dimension that varies least.

    See ``FactorVAEScore``.
    """
    require_two_factors(factors)
    active_means = means[:, active_dimensions(means, prune)]
    if active_means.shape[1] == 0:
        return 0.0
    z = standardize(active_means, len(active_means))
    fixed, variances = _run_trials(
        z,
        factors,
        trials=train + test,
        shape=(batch,),
        reduce=lambda examples: examples.var(1, ddof=1),
        seed=seed,
    )
    votes = variances.argmin(1)
    counts = np.zeros((z.shape[1], factors.shape[1]))
    np.add.at(counts, (votes[:train], fixed[:train]), 1)
    predicted = counts.argmax(1)[votes[train:]]
    return float(np.mean(predicted == fixed[train:]))


def beta_vae_score(
    means: np.ndarray,
    factors: np.ndarray,
    *,
    train: int = 10_000,
    test: int = 5_000,
    batch: int = 64,
    seed: int = 0,
) -> float:
    """The accuracy of predicting the fixed factor from pair differences; see ``BetaVAEScore``."""
    from sklearn.linear_model import LogisticRegression

    def mean_difference(pair_means: np.ndarray) -> np.ndarray:  # from [trials, batch, 2, D]
        return np.abs(pair_means[:, :, 0] - pair_means[:, :, 1]).mean(1)

    fixed, features = _run_trials(
        means,
        factors,
        trials=train + test,
        shape=(batch, 2),
        reduce=mean_difference,
        seed=seed,
    )
    features = standardize(features, train)
    classifier = LogisticRegression(max_iter=1000).fit(features[:train], fixed[:train])
    return float(classifier.score(features[train:], fixed[train:]))


class FactorVAEScore(vaezoo.Metric):
    """FactorVAE's score (Kim & Mnih 2018): whether each factor determines one dimension.

    A vote: choose a factor and one of its values, draw a batch of examples that share it, and find
    the dimension whose variance in the batch, relative to its variance over the data, is smallest.
    Each dimension predicts the factor that was fixed in most training votes for it; the score is
    the accuracy of these predictions on test votes. Dimensions of variance below ``prune`` have
    collapsed to the prior and are excluded; if none remains, the score is 0. Examples are drawn
    from the split with replacement, values uniformly from those that at least ``batch`` examples
    share.

    Args:
        train: the number of votes that decide which factor a dimension predicts.
        test: the number of votes that the accuracy is measured on.
        batch: the number of examples in a vote.
        prune: the smallest variance of a dimension's posterior means over the data.
        examples: the number of examples to draw from, a random subset of the split; 0 for all.
    """

    higher_is_better = frozenset({"factor_vae_score"})

    def __init__(
        self,
        *,
        train: Count = 10_000,
        test: Count = 5_000,
        batch: Annotated[int, Ge(2)] = 64,
        prune: Annotated[float, Ge(0)] = 0.05,
        examples: Annotated[int, Ge(0)] = 0,
    ) -> None:
        self.train, self.test, self.batch = train, test, batch
        self.prune, self.examples = prune, examples

    def __call__(self, model: vaezoo.Model, data: vaezoo.Loader) -> Mapping[str, vaezoo.Estimate]:
        """Returns ``factor_vae_score``, with ``voting_dimensions`` and the ``chance`` level."""
        seed = fresh_seed()
        means, factors = represent(model, data, self.examples, seed)
        value = factor_vae_score(
            means,
            factors,
            train=self.train,
            test=self.test,
            batch=self.batch,
            prune=self.prune,
            seed=seed,
        )
        voting = int(active_dimensions(means, self.prune).sum())
        chance = 1 / factors.shape[1]
        estimate = score(value, len(means), voting_dimensions=voting, chance=chance)
        return {"factor_vae_score": estimate}


class BetaVAEScore(vaezoo.Metric):
    """BetaVAE's score (Higgins et al. 2017): whether a linear classifier predicts a shared factor.

    A trial: choose a factor, draw a batch of pairs of examples, each pair sharing a value of it,
    and average the absolute difference within pairs for each dimension. Multinomial logistic
    regression (L2 penalty, C = 1) on these features, each scaled to mean 0 and variance 1,
    predicts the factor; the score is its accuracy on test trials. It is the most lenient of these
    scores: a rotated representation can score high. Examples are drawn from the split with
    replacement.

    Args:
        train: the number of trials to train on.
        test: the number of trials to test on.
        batch: the number of pairs in a trial.
        examples: the number of examples to draw from, a random subset of the split; 0 for all.
    """

    higher_is_better = frozenset({"beta_vae_score"})

    def __init__(
        self,
        *,
        train: Count = 10_000,
        test: Count = 5_000,
        batch: Count = 64,
        examples: Annotated[int, Ge(0)] = 0,
    ) -> None:
        self.train, self.test, self.batch, self.examples = train, test, batch, examples

    def __call__(self, model: vaezoo.Model, data: vaezoo.Loader) -> Mapping[str, vaezoo.Estimate]:
        """Returns ``beta_vae_score``, with the chance level."""
        seed = fresh_seed()
        means, factors = represent(model, data, self.examples, seed)
        value = beta_vae_score(
            means, factors, train=self.train, test=self.test, batch=self.batch, seed=seed
        )
        return {"beta_vae_score": score(value, len(means), chance=1 / factors.shape[1])}
