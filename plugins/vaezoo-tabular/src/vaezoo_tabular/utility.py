"""Whether classifiers learn from generated rows what they learn from real ones."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.ensemble import AdaBoostClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, roc_auc_score
from sklearn.neural_network import MLPClassifier
from sklearn.tree import DecisionTreeClassifier

from vaezoo_tabular.comparison import Rows, features


@dataclass(frozen=True)
class Utility:
    """What classifiers that were trained on some rows reach on others.

    Attributes:
        f1: the F1 score of each classifier, by name: of the positive class, or the mean over
            classes.
        auroc: the area under the ROC curve of each, by name: of the positive class, or the mean
            over classes, each against all others.
    """

    f1: dict[str, float]
    auroc: dict[str, float]


def train_and_test(
    train: Rows, test: Rows, target: str, positive: int | None, seed: int
) -> Utility:
    """Trains four classifiers to predict a column, and tests them.

    AdaBoost, a decision tree of depth 20, logistic regression and an MLP with 50 units, on
    standardised numbers and one-hot categories.

    Args:
        train: the rows to train on, generated or real.
        test: the rows to test on, which are real.
        target: the column of categories that is predicted.
        positive: the category that counts as positive; None for the mean over all.
        seed: of the classifiers.

    Raises:
        ValueError: the rows of one kind have one value of the target only.
    """
    y, y_test = train.categories[target], test.categories[target]
    if positive is not None:
        y, y_test = (y == positive).astype(int), (y_test == positive).astype(int)
    for labels, what in ((y, "that classifiers learn from"), (y_test, "of the split")):
        if len(np.unique(labels)) < 2:
            raise ValueError(f"all rows {what} have the same value of {target!r}")
    inputs = train.without(target)
    x, x_test = features(inputs, inputs), features(test.without(target), inputs)
    f1, auroc = {}, {}
    for name, classifier in _classifiers(seed).items():
        with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
            classifier.fit(x, y)
        predicted, shares = classifier.predict(x_test), classifier.predict_proba(x_test)
        if positive is not None:
            f1[name] = float(f1_score(y_test, predicted))
            auroc[name] = float(roc_auc_score(y_test, shares[:, 1]))
        else:
            f1[name] = float(f1_score(y_test, predicted, average="macro"))
            auroc[name] = _mean_auroc(y_test, shares, classifier.classes_)
    return Utility(f1, auroc)


def _mean_auroc(y: np.ndarray, shares: np.ndarray, classes: np.ndarray) -> float:
    """The mean over classes of which the test rows have some and not all."""
    values = [
        roc_auc_score(y == label, shares[:, place])
        for place, label in enumerate(classes)
        if 0 < (y == label).sum() < len(y)
    ]
    return float(np.mean(values)) if values else 0.5


def _classifiers(seed: int) -> dict[str, ClassifierMixin]:
    return {
        "adaboost": AdaBoostClassifier(random_state=seed),
        "tree": DecisionTreeClassifier(max_depth=20, random_state=seed),
        "logistic": LogisticRegression(max_iter=200, random_state=seed),
        "mlp": MLPClassifier((50,), max_iter=30, random_state=seed),
    }
