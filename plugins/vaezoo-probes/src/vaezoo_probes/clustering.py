"""How well clusters of posterior means agree with labels.

Shapes: n examples, D scalars of latent variables, R resamples, C clusters, L labels.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Annotated

import numpy as np
from annotated_types import Gt

import vaezoo
from vaezoo_probes.representation import fresh_rng, note_if_told, represent, unlabelled_detail

_RESAMPLES = 200


class Clustering(vaezoo.Metric):
    """How well k-means on posterior means finds the classes, of which it knows only the number.

    Measured by the adjusted Rand index (Hubert & Arabie 1985) and the normalised mutual
    information (divided by the arithmetic mean of the entropies), both between clusters and
    labels: 1 where they agree. ``floor`` is the number of shuffled clusters, which for the index
    is 0 in expectation. The standard error is that over examples for the clusters found, by the
    bootstrap. Of several restarts the one with the smallest within-cluster variance counts;
    ``lowest`` and ``highest`` are those of all restarts. Examples without a label are left out,
    and counted as ``unlabelled``.

    Args:
        restarts: how often k-means starts from new centres.
    """

    higher_is_better = frozenset({"clustering_ari", "clustering_nmi"})

    def __init__(self, *, restarts: Annotated[int, Gt(0)] = 10) -> None:
        self.restarts = restarts

    def __call__(self, model: vaezoo.Model, data: vaezoo.Loader) -> Mapping[str, vaezoo.Estimate]:
        """``clustering_ari`` and ``clustering_nmi``."""
        split, rng = represent(model, data), fresh_rng()
        clusters = len(np.unique(split.labels))
        if clusters < 2:
            raise NotImplementedError("needs examples of at least two classes")
        found = cluster(split.means, clusters, self.restarts, rng)
        tables = np.stack([contingency(each, split.labels) for each in found])  # best first
        shuffled = contingency(rng.permutation(found[0]), split.labels)
        counts = rng.multinomial(len(split), tables[0].ravel() / len(split), _RESAMPLES)
        resampled = counts.reshape(_RESAMPLES, *tables[0].shape)
        details = {"clusters": float(clusters), "restarts": float(self.restarts)}
        details |= unlabelled_detail(split)
        return {
            name: vaezoo.Estimate(
                float(measure(tables)[0]),
                float(measure(resampled).std(ddof=1)),
                len(split),
                details
                | {
                    "lowest": float(measure(tables).min()),
                    "highest": float(measure(tables).max()),
                    "floor": float(measure(shuffled)),
                },
                unit="score",
                note=note_if_told(model),
            )
            for name, measure in _MEASURES.items()
        }


def cluster(
    means: np.ndarray, clusters: int, restarts: int, rng: np.random.Generator
) -> list[np.ndarray]:
    """The clusters that each restart of k-means found, ``[n]`` each, the best one first.

    Args:
        means: ``[n, D]``.
        clusters: their number.
        restarts: the number of restarts.
        rng: seeds them.
    """
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    fits = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # of too few distinct means
        for seed in rng.integers(2**31, size=restarts):
            fits.append(KMeans(clusters, n_init=1, random_state=int(seed)).fit(means))
    return [fit.labels_ for fit in sorted(fits, key=lambda fit: fit.inertia_)]


def contingency(clusters: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How many examples are in each cluster and have each label, ``[C, L]``.

    C and L are both the number of labels that occur.

    Args:
        clusters: below that number, ``[n]``.
        labels: ``[n]``.
    """
    values, index = np.unique(labels, return_inverse=True)
    table = np.zeros((len(values), len(values)), dtype=np.int64)
    np.add.at(table, (clusters, index), 1)
    return table


def adjusted_rand_index(table: np.ndarray) -> np.ndarray:
    """The share of pairs on which clusters and labels agree, less that of chance, ``[...]``.

    Hubert & Arabie 1985, eq. 5.

    Args:
        table: contingency tables ``[..., C, L]``.
    """

    def pairs(counts: np.ndarray) -> np.ndarray:
        return counts * (counts - 1) / 2

    both = pairs(table).sum((-2, -1))
    in_cluster, of_label = pairs(table.sum(-1)).sum(-1), pairs(table.sum(-2)).sum(-1)
    chance = in_cluster * of_label / pairs(table.sum((-2, -1)))
    most = (in_cluster + of_label) / 2
    gap = most - chance
    return np.where(gap > 0, (both - chance) / np.where(gap > 0, gap, 1.0), 1.0)


def normalised_mutual_information(table: np.ndarray) -> np.ndarray:
    """The mutual information over the mean of the entropies of clusters and labels, ``[...]``.

    Args:
        table: contingency tables ``[..., C, L]``.
    """

    def entropy(counts: np.ndarray) -> np.ndarray:
        p = counts / counts.sum(-1, keepdims=True)
        return -(p * np.log(np.where(p > 0, p, 1.0))).sum(-1)

    first, second = entropy(table.sum(-1)), entropy(table.sum(-2))
    information = first + second - entropy(table.reshape(*table.shape[:-2], -1))
    mean = (first + second) / 2
    return np.where(mean > 0, information / np.where(mean > 0, mean, 1.0), 1.0)


_MEASURES: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "clustering_ari": adjusted_rand_index,
    "clustering_nmi": normalised_mutual_information,
}
