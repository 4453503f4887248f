"""Clusters of posterior means."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from vaezoo_probes.clustering import (
    Clustering,
    adjusted_rand_index,
    cluster,
    contingency,
    normalised_mutual_information,
)

from .conftest import Planted, blobs, served


def test_agreement_is_that_of_another_implementation():
    rng = np.random.default_rng(0)
    labels = rng.choice([2, 5, 9], 200)
    for noise in (0.0, 0.3, 1.0):
        noisy = np.where(
            rng.random(200) < noise, rng.choice(3, 200), np.searchsorted([2, 5, 9], labels)
        )
        table = contingency(noisy, labels)
        assert adjusted_rand_index(table) == pytest.approx(adjusted_rand_score(labels, noisy))
        assert normalised_mutual_information(table) == pytest.approx(
            normalized_mutual_info_score(labels, noisy)
        )
    stacked = np.stack([table, table.T])
    assert adjusted_rand_index(stacked)[0] == adjusted_rand_index(table)
    one = contingency(np.zeros(200, int), labels)
    assert adjusted_rand_index(one) == 0 and normalised_mutual_information(one) == 0


def test_separate_classes_are_found_and_unlabelled_examples_left_out(measure):
    x, y = blobs(300, 20.0)
    y[:20] = -1
    found = measure(Clustering(), Planted(4), served(x, y))
    for name in ("clustering_ari", "clustering_nmi"):
        assert found[name].value == pytest.approx(1) and found[name].examples == 280
        assert found[name].details["clusters"] == 3 and found[name].details["unlabelled"] == 20
        assert found[name].details["floor"] < 0.05


def test_means_that_hold_nothing_have_no_agreement(measure):
    found = measure(Clustering(), Planted(4), served(torch.randn(600, 4), blobs(600)[1]))
    ari, nmi = found["clustering_ari"], found["clustering_nmi"]
    assert abs(ari.value) < 4 * ari.error + 0.01
    assert nmi.value < nmi.details["floor"] + 0.03


def test_the_error_is_the_spread_over_examples(measure):
    found = [
        measure(Clustering(restarts=2), Planted(4), served(*blobs(200, 2.5, seed=i)))
        for i in range(25)
    ]
    values = [each["clustering_ari"].value for each in found]
    errors = [each["clustering_ari"].error for each in found]
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.5)


def test_the_best_restart_comes_first_and_the_range_is_told(measure):
    x, y = blobs(400, 3.0, dimensions=8)
    rng = np.random.default_rng(0)
    fits = cluster(x.numpy(), 8, 6, rng)

    def spread(labels):
        return sum(((x[labels == k] - x[labels == k].mean(0)) ** 2).sum() for k in range(8))

    spreads = [float(spread(labels)) for labels in fits]
    assert spreads == sorted(spreads) and spreads[0] < spreads[-1]
    details = measure(Clustering(restarts=6), Planted(8), served(x, y))["clustering_ari"].details
    assert details["lowest"] <= details["highest"]


def test_one_class_is_refused(measure):
    with pytest.raises(NotImplementedError, match="at least two classes"):
        measure(Clustering(), Planted(4), served(torch.randn(9, 4), torch.zeros(9).long()))
