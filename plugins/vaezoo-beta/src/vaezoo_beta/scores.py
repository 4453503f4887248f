"""How well latent dimensions stand for the factors that data were made from: MIG, SAP, DCI and modularity.

Each score compares posterior means ``[n, D]`` with the indices of factors' values ``[n, F]``. The functions take plain
arrays; the components beside them encode a split and call them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Ge, Gt

import vaezoo
from vaezoo_beta.representation import fresh_seed, need_two, represent, score, standardised

Count = Annotated[int, Gt(0)]
Bins = Annotated[int, Ge(2)]

_DEPTHS = (4, 6, 8, 12)
_SMALLEST = 1e-12  # nats: less mutual information is rounding


def binned(means: np.ndarray, bins: int) -> np.ndarray:
    """Each dimension in bins of equal width from its least to its greatest value, int64 ``[n, D]``."""
    low, high = means.min(0), means.max(0)
    width = np.where(high > low, high - low, 1.0)
    return np.minimum(((means - low) / width * bins).astype(np.int64), bins - 1)


def entropy(counts: np.ndarray) -> float:
    """The entropy of a histogram in nats, without a correction for its bias."""
    p = counts[counts > 0] / counts.sum()
    return float(-(p * np.log(p)).sum())


def mutual_information(codes: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """I(code; factor) in nats by counting, from int64 ``[n, D]`` and ``[n, F]`` to ``[D, F]``."""
    values = factors.max(0) + 1
    found = np.zeros((codes.shape[1], factors.shape[1]))
    for d, f in np.ndindex(*found.shape):
        alone = entropy(np.bincount(codes[:, d])) + entropy(np.bincount(factors[:, f]))
        found[d, f] = alone - entropy(np.bincount(codes[:, d] * values[f] + factors[:, f]))
    return np.where(found > _SMALLEST, found, 0.0)


def lead(table: np.ndarray) -> np.ndarray:
    """By how much the best row of ``[D, F]`` leads the second in each column, ``[F]``; a missing second counts as 0."""
    ordered = np.sort(np.pad(table, ((1, 0), (0, 0))), axis=0)
    return ordered[-1] - ordered[-2]


def mig(means: np.ndarray, factors: np.ndarray, bins: int = 20) -> float:
    """The mutual information gap; see ``MIG``."""
    entropies = np.array([entropy(np.bincount(column)) for column in factors.T])
    return float(np.mean(lead(mutual_information(binned(means, bins), factors)) / entropies))


def modularity(means: np.ndarray, factors: np.ndarray, bins: int = 20) -> float:
    """How far each dimension speaks of one factor alone; see ``Modularity``."""
    need_two(factors)
    squares = mutual_information(binned(means, bins), factors) ** 2  # [D, F]
    best = squares.max(1)
    others = (squares.sum(1) - best) / (factors.shape[1] - 1)
    return float(np.mean(np.where(best > 0, 1 - others / np.where(best > 0, best, 1.0), 0.0)))


def sap(means: np.ndarray, factors: np.ndarray, train: int) -> float:
    """The separated attribute predictability, with the first ``train`` examples to train on; see ``SAP``."""
    from sklearn.svm import LinearSVC

    z = standardised(means, train)
    accuracy = np.zeros((means.shape[1], factors.shape[1]))
    for d, f in np.ndindex(*accuracy.shape):
        machine = LinearSVC(C=0.01, class_weight="balanced", dual=False)
        machine.fit(z[:train, [d]], factors[:train, f])
        accuracy[d, f] = machine.score(z[train:, [d]], factors[train:, f])
    return float(np.mean(lead(accuracy)))


def dci(means: np.ndarray, factors: np.ndarray, train: int, trees: int, seed: int) -> tuple[float, float, float]:
    """Disentanglement, completeness and informativeness; see ``DCI``.

    Args:
        means: ``[n, D]``.
        factors: ``[n, F]``.
        train: forests grow on the first so many examples, and are tested on the rest.
        trees: in each forest.
        seed: of the forests.
    """
    need_two(factors)
    importance = np.zeros((means.shape[1], factors.shape[1]))
    accuracy = np.zeros(factors.shape[1])
    for f in range(factors.shape[1]):
        forest = _forest(means[:train], factors[:train, f], trees, seed)
        importance[:, f] = forest.feature_importances_
        accuracy[f] = forest.score(means[train:], factors[train:, f])
    disentanglement, completeness = _concentration(importance), _concentration(importance.T)
    return disentanglement, completeness, float(accuracy.mean())


def _forest(z: np.ndarray, values: np.ndarray, trees: int, seed: int) -> Any:
    """A forest that tells one factor, of the depth that does best on a fifth of the examples, grown on all of them."""
    cut = len(z) - len(z) // 5
    found = [_grow(z[:cut], values[:cut], depth, trees, seed).score(z[cut:], values[cut:]) for depth in _DEPTHS]
    return _grow(z, values, _DEPTHS[int(np.argmax(found))], trees, seed)


def _grow(z: np.ndarray, values: np.ndarray, depth: int, trees: int, seed: int) -> Any:
    from sklearn.ensemble import RandomForestClassifier

    threads = torch.get_num_threads()
    forest = RandomForestClassifier(trees, max_depth=depth, max_features=None, random_state=seed, n_jobs=threads)
    return forest.fit(z, values).set_params(n_jobs=1)  # threads would add up votes in any order


def _concentration(importance: np.ndarray) -> float:
    """1 less each row's entropy in units of its maximum, averaged with the weight of the row; ``[R, C]``."""
    total = importance.sum()
    if total == 0:
        return 0.0
    share = importance.sum(1) / total
    rows = [1 - entropy(row) / max(np.log(len(row)), _SMALLEST) for row in importance[share > 0]]
    return float(share[share > 0] @ np.array(rows))


def trained_on(examples: int, train: int, test: int) -> int:
    """How many of the examples found are to be trained on, in the proportion that was asked for."""
    return round(examples * train / (train + test))


class MIG(vaezoo.Metric):
    """Mutual information gap (Chen et al. 2018): how far the best dimension for a factor leads the second best.

    For each factor, (I(best; factor) - I(second; factor)) / H(factor), averaged over factors. Mutual information
    counts posterior means in bins of equal width from the least to the greatest. Factors with more values than bins
    cap it: the true factors of dSprites score 0.896 with 20 bins.

    Args:
        bins: for each dimension.
        examples: how many, drawn at random; 0 for all.
    """

    def __init__(self, *, bins: Bins = 20, examples: Annotated[int, Ge(0)] = 10_000) -> None:
        self.bins, self.examples = bins, examples

    def __call__(self, model: vaezoo.Model, data: vaezoo.Loader) -> Mapping[str, vaezoo.Estimate]:
        """``mig``."""
        means, factors = represent(model, data, self.examples, fresh_seed())
        return {"mig": score(mig(means, factors, self.bins), len(means), bins=self.bins)}


class Modularity(vaezoo.Metric):
    """Modularity (Ridgeway & Mozer 2018): whether each dimension has mutual information with one factor alone.

    For each dimension, 1 - (the sum over the other factors of I²) / (I² of its best factor x (F - 1)), averaged over
    dimensions; one without any mutual information counts as 0. Mutual information is counted as for ``mig``. It does
    not ask whether a dimension says much: noise in a collapsed dimension counts as much as the rest, which keeps
    scores high.

    Args:
        bins: for each dimension.
        examples: how many, drawn at random; 0 for all.
    """

    def __init__(self, *, bins: Bins = 20, examples: Annotated[int, Ge(0)] = 10_000) -> None:
        self.bins, self.examples = bins, examples

    def __call__(self, model: vaezoo.Model, data: vaezoo.Loader) -> Mapping[str, vaezoo.Estimate]:
        """``modularity``."""
        means, factors = represent(model, data, self.examples, fresh_seed())
        return {"modularity": score(modularity(means, factors, self.bins), len(means), bins=self.bins)}


class SAP(vaezoo.Metric):
    """Separated attribute predictability (Kumar et al. 2018): MIG's gap, in the accuracy of predicting a factor.

    A linear support vector machine (squared hinge, C = 0.01, one class against the rest, classes weighted equally)
    predicts each factor from each dimension alone, which is first brought to mean 0 and variance 1. The accuracy on
    test examples of the best dimension less that of the second, averaged over factors. Half-lines tell ordered values
    badly: the true factors of dSprites score about 0.25.

    Args:
        train: examples to train on, drawn at random.
        test: other examples to test on; where a split has fewer than both, it is divided in their proportion.
    """

    def __init__(self, *, train: Count = 10_000, test: Count = 5_000) -> None:
        self.train, self.test = train, test

    def __call__(self, model: vaezoo.Model, data: vaezoo.Loader) -> Mapping[str, vaezoo.Estimate]:
        """``sap``."""
        means, factors = represent(model, data, self.train + self.test, fresh_seed())
        train = trained_on(len(means), self.train, self.test)
        return {"sap": score(sap(means, factors, train), len(means), trained_on=train)}


class DCI(vaezoo.Metric):
    """Disentanglement, completeness and informativeness (Eastwood & Williams 2018), by random forests.

    A forest predicts each factor from all dimensions (Gini impurity, every dimension tried at each split, depth 4, 6,
    8 or 12, whichever predicts a held-out fifth of the training examples best). A dimension's importance is its share
    of the decrease in impurity. Disentanglement: 1 less the entropy of a dimension's importance over factors,
    averaged over dimensions by importance. Completeness: the same with dimensions and factors exchanged. Both
    entropies are in units of their maximum. Informativeness: the accuracy on test examples, averaged over factors.
    Gradient boosting, which others use, gives other figures.

    Args:
        train: examples to train on, drawn at random.
        test: other examples to test on; where a split has fewer than both, it is divided in their proportion.
        trees: in each forest.
    """

    def __init__(self, *, train: Count = 10_000, test: Count = 5_000, trees: Count = 10) -> None:
        self.train, self.test, self.trees = train, test, trees

    def __call__(self, model: vaezoo.Model, data: vaezoo.Loader) -> Mapping[str, vaezoo.Estimate]:
        """``dci_disentanglement``, ``dci_completeness`` and ``dci_informativeness``."""
        seed = fresh_seed()
        means, factors = represent(model, data, self.train + self.test, seed)
        train = trained_on(len(means), self.train, self.test)
        found = dci(means, factors, train, self.trees, seed)
        names = ("dci_disentanglement", "dci_completeness", "dci_informativeness")
        return {n: score(v, len(means), trained_on=train) for n, v in zip(names, found, strict=True)}
