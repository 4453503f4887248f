"""Scores by many small trials: fix a factor, look at examples that share its value, guess which factor it was."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge

import vaezoo
from vaezoo_beta.representation import fresh_seed, need_two, represent, score, standardised
from vaezoo_beta.scores import Count

_SCALARS_AT_ONCE = 2**22


@dataclass(frozen=True)
class _Groups:
    """Examples by the value of one factor.

    Attributes:
        order: the examples sorted by value, ``[n]``.
        starts, sizes: where in ``order`` the examples of a value begin, and how many there are, ``[values]``.
    """

    order: np.ndarray
    starts: np.ndarray
    sizes: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray, at_least: int) -> _Groups:
        """Groups examples with values ``[n]``, leaving out values that fewer than ``at_least`` examples share.

        Raises:
            NotImplementedError: no value is left.
        """
        _, starts, sizes = np.unique(np.sort(values), return_index=True, return_counts=True)
        enough = sizes >= at_least
        if not enough.any():
            raise NotImplementedError(f"needs a value of each factor that {at_least} examples share")
        return cls(np.argsort(values, kind="stable"), starts[enough], sizes[enough])

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        """Examples with replacement, of the given shape; along its last axis they share a value."""
        value = rng.integers(len(self.sizes), size=(*shape[:-1], 1))
        place = (rng.random(shape) * self.sizes[value]).astype(np.int64)
        return self.order[self.starts[value] + place]


Trials = tuple[np.ndarray, np.ndarray]
"""What trials found: which factor was fixed ``[trials]``, and features ``[trials, D]``."""


def _trials(
    z: np.ndarray,
    factors: np.ndarray,
    count: int,
    shape: tuple[int, ...],
    reduce: Callable[[np.ndarray], np.ndarray],
    seed: int,
) -> Trials:
    """Draws examples that share the value of a factor, a factor for each trial.

    Args:
        z: ``[n, D]``.
        factors: ``[n, F]``.
        count: trials.
        shape: of the examples of one trial; along the last axis they share a value.
        reduce: from their representations ``[trials, *shape, D]`` to features ``[trials, D]``.
        seed: of all draws.
    """
    need_two(factors)
    rng = np.random.default_rng(seed)
    fixed = rng.integers(factors.shape[1], size=count)
    features = np.empty((count, z.shape[1]))
    rows = max(1, _SCALARS_AT_ONCE // (int(np.prod(shape)) * z.shape[1]))
    for factor, values in enumerate(factors.T):
        groups = _Groups.of(values, shape[-1])
        chosen = np.flatnonzero(fixed == factor)
        for start in range(0, len(chosen), rows):
            part = chosen[start : start + rows]
            features[part] = reduce(z[groups.draw((len(part), *shape), rng)])
    return fixed, features


def active(means: np.ndarray, prune: float) -> np.ndarray:
    """Which dimensions of ``[n, D]`` vary enough to vote, bool ``[D]``."""
    varies = means.min(0) < means.max(0)  # the variance of a constant is rounding, not 0
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
    """The accuracy of guessing the fixed factor from the dimension that varies least; see ``FactorVAEScore``."""
    need_two(factors)
    kept = means[:, active(means, prune)]
    if kept.shape[1] == 0:
        return 0.0
    z = standardised(kept, len(kept))
    fixed, spread = _trials(z, factors, train + test, (batch,), lambda group: group.var(1, ddof=1), seed)
    votes = spread.argmin(1)
    ballot = np.zeros((z.shape[1], factors.shape[1]))
    np.add.at(ballot, (votes[:train], fixed[:train]), 1)
    return float(np.mean(ballot.argmax(1)[votes[train:]] == fixed[train:]))


def beta_vae_score(
    means: np.ndarray,
    factors: np.ndarray,
    *,
    train: int = 10_000,
    test: int = 5_000,
    batch: int = 64,
    seed: int = 0,
) -> float:
    """The accuracy of guessing the fixed factor from differences within pairs; see ``BetaVAEScore``."""
    from sklearn.linear_model import LogisticRegression

    def differ(pairs: np.ndarray) -> np.ndarray:  # [trials, batch, 2, D]
        return np.abs(pairs[:, :, 0] - pairs[:, :, 1]).mean(1)

    fixed, features = _trials(means, factors, train + test, (batch, 2), differ, seed)
    features = standardised(features, train)
    classifier = LogisticRegression(max_iter=1000).fit(features[:train], fixed[:train])
    return float(classifier.score(features[train:], fixed[train:]))


class FactorVAEScore(vaezoo.Metric):
    """FactorVAE's score (Kim & Mnih 2018): whether fixing a factor silences one dimension, and always the same.

    A vote: choose a factor and one of its values, draw a batch of examples that share it, and find the dimension
    whose variance in the batch is the least share of its variance over the data. A dimension is taken to stand for
    the factor that most training votes with it had fixed; the score is the accuracy of that on test votes. Dimensions
    of variance below ``prune`` have collapsed to the prior and are left out before any vote; where none is left the
    score is 0. Examples are drawn from the split with replacement, values uniformly from those that at least
    ``batch`` examples share.

    Args:
        train: votes that decide which dimension stands for which factor.
        test: votes that it is tested on.
        batch: examples in a vote.
        prune: the least variance of a dimension's posterior mean over the data.
        examples: how many to draw from, chosen at random; 0 for all.
    """

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
        """``factor_vae_score``, with the dimensions that vote and the score of a guess at random."""
        seed = fresh_seed()
        means, factors = represent(model, data, self.examples, seed)
        found = factor_vae_score(
            means, factors, train=self.train, test=self.test, batch=self.batch, prune=self.prune, seed=seed
        )
        voting = int(active(means, self.prune).sum())
        chance = 1 / factors.shape[1]
        return {"factor_vae_score": score(found, len(means), voting_dimensions=voting, chance=chance)}


class BetaVAEScore(vaezoo.Metric):
    """BetaVAE's score (Higgins et al. 2017): whether a linear classifier sees which factor pairs of examples share.

    A trial: choose a factor, draw a batch of pairs, each sharing some value of it, and average the absolute
    difference within pairs, dimension by dimension. Multinomial logistic regression (L2 penalty, C = 1) on these
    features, each brought to mean 0 and variance 1, predicts the factor; the score is its accuracy on test trials. It
    is the most lenient of these scores: a rotated representation can do well. Examples are drawn from the split with
    replacement.

    Args:
        train: trials to train on.
        test: trials to test on.
        batch: pairs in a trial.
        examples: how many to draw from, chosen at random; 0 for all.
    """

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
        """``beta_vae_score``, with the score of a guess at random."""
        seed = fresh_seed()
        means, factors = represent(model, data, self.examples, seed)
        found = beta_vae_score(means, factors, train=self.train, test=self.test, batch=self.batch, seed=seed)
        return {"beta_vae_score": score(found, len(means), chance=1 / factors.shape[1])}
