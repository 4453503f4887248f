"""What dynamic time warping makes of a set of series: the figures beside those of ``vrae-vowels`` and its like.

    python benchmarks/neighbours.py JapaneseVowels 1     # 1-nearest neighbour; class 1 left out as the anomaly

Accuracy of a 1-nearest neighbour over all classes, and, with one class left out of training, how well the distance to
the nearest neighbour tells it from the others: area under the ROC curve and average precision. Needs aeon.
"""

from __future__ import annotations

import sys

import numpy as np
from aeon.distances import dtw_distance
from sklearn.metrics import average_precision_score, roc_auc_score
from vaezoo_vrae.series import Series


def rows(data: Series, names: tuple[str, ...]) -> tuple[list[np.ndarray], np.ndarray]:
    """The sequences ``[D, T]`` of splits, as the models see them, and their labels."""
    series, labels = [], []
    for name in names:
        split = data.split(name)
        assert split.transform is not None and split.mask is not None and split.condition is not None
        x = split.transform(split.x)
        series += [row[mask].T.double().numpy() for row, mask in zip(x, split.mask, strict=True)]
        labels += split.condition.tolist()
    return series, np.array(labels)


def distances(one: list[np.ndarray], other: list[np.ndarray]) -> np.ndarray:
    """Of every sequence to every other, with a window of a tenth of their length."""
    return np.array([[dtw_distance(a, b, window=0.1) for b in other] for a in one])


def main(name: str, left_out: str) -> None:
    data = Series(name=name)
    train, labels = rows(data, ("train", "validation"))
    test, truth = rows(data, ("test",))
    table = distances(test, train)
    accuracy = float((labels[table.argmin(1)] == truth).mean())
    anomalous = truth == data.spec.classes.index(left_out)
    score = table[:, labels != data.spec.classes.index(left_out)].min(1)
    area, precision = roc_auc_score(anomalous, score), average_precision_score(anomalous, score)
    print(f"{name}: 1-NN with DTW {accuracy:.3f}; without class {left_out}: AUROC {area:.3f}, AP {precision:.3f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
