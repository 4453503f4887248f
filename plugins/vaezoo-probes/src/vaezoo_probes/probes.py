"""Classifiers on posterior means: nearest neighbours and logistic regression.

Shapes: n test examples, m training examples, R draws of labelled examples, D features.
"""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar

import numpy as np
from annotated_types import Gt

import vaezoo
from vaezoo_probes.representation import (
    CHEAP_INPUTS,
    Labelled,
    fresh_rng,
    note_if_told,
    represent,
    unlabelled_detail,
)

Count = Annotated[int, Gt(0)]
_MAX_ITERATIONS = 1000


def draw_labelled(
    labels: np.ndarray, per_class: int, rng: np.random.Generator, classes: Sequence[str] = ()
) -> np.ndarray:
    """The indices of ``per_class`` random examples of each class, without replacement.

    Args:
        labels: ``[m]``.
        per_class: how many of each.
        rng: draws them.
        classes: the names of the labels, for the message.

    Raises:
        NotImplementedError: a class has fewer.
    """
    chosen = []
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        if len(rows) < per_class:
            name = classes[label] if label < len(classes) else str(label)
            raise NotImplementedError(
                f"class {name!r} has {len(rows):,} labelled training examples, fewer than "
                f"labels_per_class {per_class:,}"
            )
        chosen.append(rng.choice(rows, per_class, replace=False))
    return np.concatenate(chosen)


def accuracy(correct: np.ndarray) -> tuple[float, float | None]:
    """The mean of R draws on the same n examples ``[R, n]``, with its standard error.

    The variance is that over examples of the share of draws that get one right, plus that between
    draws.
    """
    draws, examples = correct.shape
    value = float(correct.mean())
    if examples < 2:
        return value, None
    variance = correct.mean(0).var(ddof=1) / examples
    if draws > 1:
        variance += correct.mean(1).var(ddof=1) / draws
    return value, float(variance**0.5)


class Probe(vaezoo.Metric):
    """A classifier fitted to posterior means of the training split. Required: ``predict``.

    Args:
        labels_per_class: how many training labels of each class are used; None for all.
        draws: how often these are drawn.
    """

    key: ClassVar[str]
    """The name of its number."""

    def __init__(self, labels_per_class: int | None, draws: int) -> None:
        self.labels_per_class, self.draws = labels_per_class, draws

    @abstractmethod
    def predict(self, train: np.ndarray, labels: np.ndarray, test: np.ndarray) -> np.ndarray:
        """The label of each test example, ``[n]``.

        Args:
            train: features ``[m, D]``, standardised over the whole training split if
                ``standardise``.
            labels: ``[m]``.
            test: features ``[n, D]``, likewise.
        """

    def options(self, train: int) -> dict[str, float]:
        """The details that tell how it was fitted to ``train`` examples."""
        return {}

    standardise: ClassVar[bool] = False
    """Whether features are scaled to mean 0 and variance 1."""

    def __call__(self, model: vaezoo.Model, data: vaezoo.Loader) -> Mapping[str, vaezoo.Estimate]:
        """The accuracy on the split, with its floor and that of the same probe on the data."""
        if self.training is None:
            raise NotImplementedError("needs the training split")
        wide = CHEAP_INPUTS if self.labels_per_class is None else 10 * CHEAP_INPUTS
        train, test = represent(model, self.training(), wide), represent(model, data, wide)
        chosen = self._draws(train, model.data.classes)
        value, error = self._accuracy(train.means, test.means, train, test, chosen)
        fitted = len(chosen[0])
        details = {"trained_on": float(fitted), "draws": float(len(chosen))}
        details |= self.options(fitted) | unlabelled_detail(train, test)
        majority = np.bincount(train.labels).argmax()
        details["floor"] = float((test.labels == majority).mean())
        if train.inputs is not None and test.inputs is not None:
            details["on_inputs"], _ = self._accuracy(
                train.inputs, test.inputs, train, test, chosen
            )
        note = note_if_told(model)
        estimate = vaezoo.Estimate(value, error, len(test), details, unit="share", note=note)
        return {self.key: estimate}

    def _draws(self, train: Labelled, classes: Sequence[str]) -> list[np.ndarray]:
        """The rows of the training examples of each draw."""
        if self.labels_per_class is None:
            return [np.arange(len(train))]
        rng, count = fresh_rng(), self.labels_per_class
        return [draw_labelled(train.labels, count, rng, classes) for _ in range(self.draws)]

    def _accuracy(
        self,
        train_features: np.ndarray,
        test_features: np.ndarray,
        train: Labelled,
        test: Labelled,
        chosen: Sequence[np.ndarray],
    ) -> tuple[float, float | None]:
        """``accuracy`` of the probe on some features, for each draw of training examples."""
        if self.standardise:
            mean, scale = vaezoo.mean_and_scale(train_features)
            train_features, test_features = (
                (features - mean) / scale for features in (train_features, test_features)
            )
        correct = [
            self.predict(train_features[rows], train.labels[rows], test_features) == test.labels
            for rows in chosen
        ]
        return accuracy(np.stack(correct))


class KNNProbe(Probe):
    """The accuracy of the k nearest neighbours among posterior means of the training split.

    Neighbours are weighted by the inverse of their Euclidean distance in the latent space, which
    is not rescaled, so that dimensions that hold nothing hardly count. ``floor`` is the accuracy
    of the most frequent class, ``on_inputs`` that of the same neighbours among the data themselves
    (left out where they are many, or no arrays of one shape). Examples without a label are left
    out; ``unlabelled`` counts them, in both splits.

    Args:
        k: the number of neighbours; with fewer training examples, all of them.
        labels_per_class: how many training labels of each class are used; null for all.
        draws: how often these labels are drawn; the spread is part of the standard error.
    """

    higher_is_better = frozenset({"knn_probe"})
    key = "knn_probe"

    def __init__(
        self, *, k: Count = 10, labels_per_class: Count | None = None, draws: Count = 5
    ) -> None:
        super().__init__(labels_per_class, draws)
        self.k = k

    def predict(self, train: np.ndarray, labels: np.ndarray, test: np.ndarray) -> np.ndarray:
        """The label with the largest weight among the nearest neighbours, ``[n]``."""
        from sklearn.neighbors import KNeighborsClassifier

        k = min(self.k, len(train))
        classifier = KNeighborsClassifier(k, weights="distance", algorithm="brute")
        predicted: np.ndarray = classifier.fit(train, labels).predict(test)
        return predicted

    def options(self, train: int) -> dict[str, float]:
        """The number of neighbours."""
        return {"k": float(min(self.k, train))}


class LinearProbe(Probe):
    """The accuracy of multinomial logistic regression on posterior means of the training split.

    Means are standardised over the whole training split, and weights have an L2 penalty (C = 1 of
    scikit-learn). ``floor`` is the accuracy of the most frequent class, ``on_inputs`` that of the
    same regression on the data themselves (left out where they are many, or no arrays of one
    shape). Examples without a label are left out; ``unlabelled`` counts them, in both splits.

    Args:
        labels_per_class: how many training labels of each class are used; null for all.
        draws: how often these labels are drawn; the spread is part of the standard error.
    """

    higher_is_better = frozenset({"linear_probe"})
    key = "linear_probe"
    standardise = True

    def __init__(self, *, labels_per_class: Count | None = None, draws: Count = 5) -> None:
        super().__init__(labels_per_class, draws)

    def predict(self, train: np.ndarray, labels: np.ndarray, test: np.ndarray) -> np.ndarray:
        """The most probable label, ``[n]``."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression

        if len(np.unique(labels)) < 2:
            return np.full(len(test), labels[0])
        with warnings.catch_warnings():
            warnings.simplefilter("error", ConvergenceWarning)
            try:
                classifier = LogisticRegression(max_iter=_MAX_ITERATIONS).fit(train, labels)
            except ConvergenceWarning:
                raise NotImplementedError(
                    f"logistic regression has not converged after {_MAX_ITERATIONS:,} iterations"
                ) from None
        predicted: np.ndarray = classifier.predict(test)
        return predicted
