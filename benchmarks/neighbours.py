"""A baseline for ``vrae-vowels`` and similar specs: nearest neighbours by dynamic time warping.

    python benchmarks/neighbours.py JapaneseVowels 1     # class 1 is the anomaly

Prints the accuracy of 1-nearest-neighbour classification over all classes. With one class left out
of training, it prints how well the distance to the nearest neighbour detects that class: area
under the ROC curve (AUROC) and average precision (AP). Needs aeon.
"""

from __future__ import annotations

import sys

import numpy as np
from aeon.distances import dtw_distance
from sklearn.metrics import average_precision_score, roc_auc_score
from vaezoo_vrae.series import Series


def read_sequences(data: Series, names: tuple[str, ...]) -> tuple[list[np.ndarray], np.ndarray]:
    """The sequences ``[D, T]`` of splits, transformed as for models, and their labels."""
    series, labels = [], []
    for name in names:
        split = data.split(name)
        assert (
            split.transform is not None and split.mask is not None and split.condition is not None
        )
        x = split.transform(split.x)
        valid = [sequence[mask] for sequence, mask in zip(x, split.mask, strict=True)]  # [T, D]
        series += [sequence.T.double().numpy() for sequence in valid]
        labels += split.condition.tolist()
    return series, np.array(labels)


def distances(queries: list[np.ndarray], references: list[np.ndarray]) -> np.ndarray:
    """DTW distances ``[queries, references]``, with a window of a tenth of the length."""
    return np.array([[dtw_distance(a, b, window=0.1) for b in references] for a in queries])


def main(name: str, anomaly_class: str) -> None:
    data = Series(name=name)
    train, train_labels = read_sequences(data, ("train", "validation"))
    test, test_labels = read_sequences(data, ("test",))
    table = distances(test, train)
    accuracy = float((train_labels[table.argmin(1)] == test_labels).mean())
    anomaly = data.spec.classes.index(anomaly_class)
    is_anomaly = test_labels == anomaly
    score = table[:, train_labels != anomaly].min(1)
    area = roc_auc_score(is_anomaly, score)
    precision = average_precision_score(is_anomaly, score)
    print(
        f"{name}: 1-NN with DTW {accuracy:.3f}; "
        f"without class {anomaly_class}: AUROC {area:.3f}, AP {precision:.3f}"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
