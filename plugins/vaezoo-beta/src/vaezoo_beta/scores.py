"""Disentanglement scores: MIG, SAP, DCI and modularity.

Each score compares posterior means ``[n, D]`` with the indices of factor values ``[n, F]``. The
functions take numpy arrays; the metrics of the same names encode a split and call them. Shapes: n
examples, D latent dimensions, F factors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Ge, Gt

import vaezoo
from vaezoo_beta.representation import (
    fresh_seed,
    represent,
    require_two_factors,
    score,
    standardize,
)

Count = Annotated[int, Gt(0)]
Bins = Annotated[int, Ge(2)]

_DEPTHS = (4, 6, 8, 12)
_SMALLEST = 1e-12  # nats; smaller mutual information is a rounding error


def discretize(means: np.ndarray, bins: int) -> np.ndarray:
    """The bin of each value, int64 ``[n, D]``; the bins of a dimension have equal widths."""
    low, high = means.min(0), means.max(0)
    width = np.where(high > low, high - low, 1.0)
    return np.minimum(((means - low) / width * bins).astype(np.int64), bins - 1)


def entropy(counts: np.ndarray) -> float:
    """The entropy of a histogram in nats, without bias correction."""
    p = counts[counts > 0] / counts.sum()
    return float(-(p * np.log(p)).sum())


def mutual_information(codes: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """I(code; factor) in nats from joint histograms.

    Args:
        codes: discretized latents, int64 ``[n, D]``.
        factors: int64 ``[n, F]``.

    Returns:
        ``[D, F]``.
    """
    values = factors.max(0) + 1
    information = np.zeros((codes.shape[1], factors.shape[1]))
    for d, f in np.ndindex(*information.shape):
        marginal = entropy(np.bincount(codes[:, d])) + entropy(np.bincount(factors[:, f]))
        joint = entropy(np.bincount(codes[:, d] * values[f] + factors[:, f]))
        information[d, f] = marginal - joint
    return np.where(information > _SMALLEST, information, 0.0)


def top_two_gap(table: np.ndarray) -> np.ndarray:
    """The largest minus the second largest value of each column of ``[D, F]``, ``[F]``.

    If D = 1, the second value counts as 0.
    """
    ordered = np.sort(np.pad(table, ((1, 0), (0, 0))), axis=0)
    return ordered[-1] - ordered[-2]


def mig(means: np.ndarray, factors: np.ndarray, bins: int = 20) -> float:
    """The mutual information gap; see ``MIG``."""
    entropies = np.array([entropy(np.bincount(column)) for column in factors.T])  # [F]
    gaps = top_two_gap(mutual_information(discretize(means, bins), factors))
    return float(np.mean(gaps / entropies))


def modularity(means: np.ndarray, factors: np.ndarray, bins: int = 20) -> float:
    """Whether each dimension depends on one factor only; see ``Modularity``."""
    require_two_factors(factors)
    squares = mutual_information(discretize(means, bins), factors) ** 2  # [D, F]
    best = squares.max(1)
    others = (squares.sum(1) - best) / (factors.shape[1] - 1)
    return float(np.mean(np.where(best > 0, 1 - others / np.where(best > 0, best, 1.0), 0.0)))


def sap(means: np.ndarray, factors: np.ndarray, train: int) -> float:
    """The separated attribute predictability, trained on the first ``train`` rows; see ``SAP``."""
    from sklearn.svm import LinearSVC

    z = standardize(means, train)
    accuracy = np.zeros((means.shape[1], factors.shape[1]))
    for d, f in np.ndindex(*accuracy.shape):
        # without a random state it draws a seed from numpy's global generator, and ignores it
        classifier = LinearSVC(C=0.01, class_weight="balanced", dual=False, random_state=0)
        classifier.fit(z[:train, [d]], factors[:train, f])
        accuracy[d, f] = classifier.score(z[train:, [d]], factors[train:, f])
    return float(np.mean(top_two_gap(accuracy)))


def dci(
    means: np.ndarray, factors: np.ndarray, *, train: int, trees: int, seed: int
) -> tuple[float, float, float]:
    """Disentanglement, completeness and informativeness; see ``DCI``.

    Args:
        means: ``[n, D]``.
        factors: ``[n, F]``.
        train: the number of examples, from the first, that forests are trained on; they are tested
            on the others.
        trees: the number of trees of each forest.
        seed: the seed of the forests.
    """
    require_two_factors(factors)
    importance = np.zeros((means.shape[1], factors.shape[1]))
    accuracy = np.zeros(factors.shape[1])
    for f in range(factors.shape[1]):
        forest = _tuned_forest(means[:train], factors[:train, f], trees, seed)
        importance[:, f] = forest.feature_importances_
        accuracy[f] = forest.score(means[train:], factors[train:, f])
    disentanglement, completeness = _concentration(importance), _concentration(importance.T)
    return disentanglement, completeness, float(accuracy.mean())


def _tuned_forest(z: np.ndarray, values: np.ndarray, trees: int, seed: int) -> Any:
    """A forest that predicts one factor, trained on all examples.

    Its depth is that with the best accuracy on a fifth of the examples when trained on the others.
    """
    cut = len(z) - len(z) // 5
    accuracy = []
    for depth in _DEPTHS:
        forest = _fit_forest(z[:cut], values[:cut], depth=depth, trees=trees, seed=seed)
        accuracy.append(forest.score(z[cut:], values[cut:]))
    depth = _DEPTHS[int(np.argmax(accuracy))]
    return _fit_forest(z, values, depth=depth, trees=trees, seed=seed)


def _fit_forest(z: np.ndarray, values: np.ndarray, *, depth: int, trees: int, seed: int) -> Any:
    from sklearn.ensemble import RandomForestClassifier

    forest = RandomForestClassifier(
        trees,
        max_depth=depth,
        max_features=None,
        random_state=seed,
        n_jobs=torch.get_num_threads(),
    )
    # One thread for predictions: several would sum the trees' votes in a varying order.
    return forest.fit(z, values).set_params(n_jobs=1)


def _concentration(importance: np.ndarray) -> float:
    """1 - (entropy of a row / its maximum), averaged over the rows of ``[R, C]`` by their sums."""
    total = importance.sum()
    if total == 0:
        return 0.0
    share = importance.sum(1) / total
    rows = [1 - entropy(row) / max(np.log(len(row)), _SMALLEST) for row in importance[share > 0]]
    return float(share[share > 0] @ np.array(rows))


def train_count(examples: int, train: int, test: int) -> int:
    """How many of ``examples`` to train on, in the proportion of ``train`` to ``test``."""
    return round(examples * train / (train + test))


class MIG(vaezoo.Metric):
    """Mutual information gap (Chen et al. 2018): the lead of the best dimension over the second.

    For each factor, (I(best; factor) - I(second; factor)) / H(factor), averaged over factors.
    Mutual information is computed from histograms of posterior means, with bins of equal width
    over the range of each dimension. The score cannot reach 1 if a factor has more values than
    there are bins: the true factors of dSprites score 0.896 with 20 bins.

    Args:
        bins: the number of bins of each dimension.
        examples: the number of examples, drawn at random; 0 for all.
    """

    higher_is_better = frozenset({"mig"})

    def __init__(self, *, bins: Bins = 20, examples: Annotated[int, Ge(0)] = 10_000) -> None:
        self.bins, self.examples = bins, examples

    def __call__(self, model: vaezoo.Model, data: vaezoo.Loader) -> Mapping[str, vaezoo.Estimate]:
        """Returns ``mig``."""
        means, factors = represent(model, data, self.examples, fresh_seed())
        return {"mig": score(mig(means, factors, self.bins), len(means), bins=self.bins)}


class Modularity(vaezoo.Metric):
    """Modularity (Ridgeway & Mozer 2018): whether each dimension depends on one factor only.

    For each dimension, 1 - (the sum over the other factors of I²) / (I² of its best factor x (F -
    1)), averaged over dimensions; a dimension without any mutual information counts as 0. Mutual
    information is computed as for ``mig``. The score ignores how informative a dimension is: noise
    in a collapsed dimension counts as much as any other dimension, which keeps scores high.

    Args:
        bins: the number of bins of each dimension.
        examples: the number of examples, drawn at random; 0 for all.
    """

    higher_is_better = frozenset({"modularity"})

    def __init__(self, *, bins: Bins = 20, examples: Annotated[int, Ge(0)] = 10_000) -> None:
        self.bins, self.examples = bins, examples

    def __call__(self, model: vaezoo.Model, data: vaezoo.Loader) -> Mapping[str, vaezoo.Estimate]:
        """Returns ``modularity``."""
        means, factors = represent(model, data, self.examples, fresh_seed())
        return {
            "modularity": score(modularity(means, factors, self.bins), len(means), bins=self.bins)
        }


class SAP(vaezoo.Metric):
    """Separated attribute predictability (Kumar et al. 2018): as MIG, but with accuracies.

    A linear support vector machine (squared hinge loss, C = 0.01, one class against all others,
    classes weighted equally) predicts each factor from each dimension alone, after scaling it to
    mean 0 and variance 1. The score is the test accuracy of the best dimension less that of the
    second best, averaged over factors. One linear threshold per class separates ordered values
    badly: the true factors of dSprites score about 0.25.

    Args:
        train: the number of examples to train on, drawn at random.
        test: the number of other examples to test on; a split with fewer examples than ``train``
            and ``test`` together is divided in their proportion.
    """

    higher_is_better = frozenset({"sap"})

    def __init__(self, *, train: Count = 10_000, test: Count = 5_000) -> None:
        self.train, self.test = train, test

    def __call__(self, model: vaezoo.Model, data: vaezoo.Loader) -> Mapping[str, vaezoo.Estimate]:
        """Returns ``sap``."""
        means, factors = represent(model, data, self.train + self.test, fresh_seed())
        train = train_count(len(means), self.train, self.test)
        return {"sap": score(sap(means, factors, train), len(means), trained_on=train)}


class DCI(vaezoo.Metric):
    """Disentanglement, completeness and informativeness (Eastwood & Williams 2018).

    A random forest predicts each factor from all dimensions (Gini impurity, every dimension tried
    at each split, depth 4, 6, 8 or 12, whichever predicts a held-out fifth of the training
    examples best). The importance of a dimension is its share of the decrease in impurity.
    Disentanglement: 1 less the entropy of a dimension's importance over factors, averaged over
    dimensions by importance. Completeness: the same with dimensions and factors exchanged. Both
    entropies are relative to their maximum. Informativeness: the accuracy on test examples,
    averaged over factors. Implementations with gradient boosting give other values.

    Args:
        train: the number of examples to train on, drawn at random.
        test: the number of other examples to test on; a split with fewer examples than ``train``
            and ``test`` together is divided in their proportion.
        trees: the number of trees of each forest.
    """

    higher_is_better = frozenset(
        {"dci_disentanglement", "dci_completeness", "dci_informativeness"}
    )

    def __init__(self, *, train: Count = 10_000, test: Count = 5_000, trees: Count = 10) -> None:
        self.train, self.test, self.trees = train, test, trees

    def __call__(self, model: vaezoo.Model, data: vaezoo.Loader) -> Mapping[str, vaezoo.Estimate]:
        """Returns ``dci_disentanglement``, ``dci_completeness`` and ``dci_informativeness``."""
        seed = fresh_seed()
        means, factors = represent(model, data, self.train + self.test, seed)
        train = train_count(len(means), self.train, self.test)
        values = dci(means, factors, train=train, trees=self.trees, seed=seed)
        names = ("dci_disentanglement", "dci_completeness", "dci_informativeness")
        return {
            name: score(value, len(means), trained_on=train)
            for name, value in zip(names, values, strict=True)
        }
