"""Probes on planted representations, and against an independent implementation."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from vaezoo_probes.probes import KNNProbe, LinearProbe, accuracy, draw_labelled
from vaezoo_probes.representation import represent

import vaezoo

from .conftest import Planted, blobs, served


def test_neighbours_are_those_of_a_plain_search(measure):
    (x, y), (other, labels) = blobs(300, 1.5), blobs(100, 1.5, seed=1)
    found = measure(KNNProbe(k=7), Planted(4), served(other, labels), served(x, y))["knn_probe"]
    distance, nearest = torch.cdist(other.double(), x.double()).topk(7, largest=False)
    votes = torch.zeros(100, 3, dtype=torch.float64)
    votes.scatter_add_(1, y[nearest], 1 / distance)
    assert found.value == pytest.approx(float((votes.argmax(1) == labels).double().mean()))
    assert found.details["k"] == 7 and found.details["trained_on"] == 300


def test_a_linear_probe_is_as_good_as_the_best_rule(measure):
    """Bayes' rule of three equal blobs is linear: the nearest corner."""
    (x, y), (other, labels) = blobs(3000, 2.0), blobs(4000, 2.0, seed=1)
    best = torch.cdist(other, 2.0 * torch.eye(3, 4)).argmin(1) == labels
    scaled = torch.tensor([1.0, 100.0, 0.01, 1.0])  # standardising undoes it
    data = served(other * scaled, labels)
    found = measure(LinearProbe(), Planted(4), data, served(x * scaled, y))["linear_probe"]
    assert found.value == pytest.approx(float(best.double().mean()), abs=0.01)


@pytest.mark.parametrize("probe", [KNNProbe, LinearProbe])
def test_means_that_hold_nothing_are_at_the_floor(probe, measure):
    x, y = torch.randn(1200, 4), (torch.rand(1200) < 0.3).long()
    data, train = served(x[:600], y[:600]), served(x[600:], y[600:])
    (found,) = measure(probe(), Planted(4), data, train).values()
    floor = found.details["floor"]
    assert floor == pytest.approx(float((y[:600] == 0).double().mean()))
    assert found.value < floor + 3 * found.error


@pytest.mark.parametrize("probe", [KNNProbe, LinearProbe])
def test_few_labels_are_drawn_several_times(probe, measure):
    train, data = served(*blobs(600, 2.0)), served(*blobs(300, 2.0, seed=1))
    results = [
        next(iter(measure(probe(labels_per_class=m, draws=8), Planted(4), data, train).values()))
        for m in (2, 40)
    ]
    few, many = results
    assert few.details["trained_on"] == 6 and few.details["draws"] == 8
    assert few.value < many.value and few.error > many.error
    assert many.details["on_inputs"] == pytest.approx(many.value), "means are the inputs here"


def test_the_error_is_that_over_examples_and_draws():
    """The spread of the accuracy over repeated draws of both."""
    rng = np.random.default_rng(0)

    def repetition():
        skill = 0.7 + 0.05 * rng.standard_normal((4, 1))
        ease = 0.4 * (rng.random(200) - 0.5)
        return accuracy(rng.random((4, 200)) < skill + ease)

    values, errors = np.array([repetition() for _ in range(400)]).T
    assert np.sqrt((errors**2).mean()) == pytest.approx(values.std(), rel=0.2)
    assert accuracy(np.ones((1, 1), bool)) == (1.0, None)


def test_drawn_examples_are_balanced_and_their_own():
    labels = np.array([0] * 50 + [2] * 5 + [5] * 9)
    rows = draw_labelled(labels, 5, np.random.default_rng(0))
    assert len(set(rows)) == 15 and np.bincount(labels[rows]).tolist() == [5, 0, 5, 0, 0, 5]
    with pytest.raises(NotImplementedError, match="class 'c' has 5 labelled training examples"):
        draw_labelled(labels, 6, np.random.default_rng(0), ("a", "b", "c"))


def test_unknown_labels_are_left_out_and_counted(measure):
    (x, y), (other, labels) = blobs(300, 20.0), blobs(100, 20.0, seed=1)
    y[:30], labels[10:50] = -1, -1
    other[10:50] = 0.0
    found = measure(KNNProbe(k=3), Planted(4), served(other, labels), served(x, y))["knn_probe"]
    assert found.value == 1 and found.examples == 60
    assert found.details["unlabelled"] == 70 and found.details["trained_on"] == 270


def test_a_posterior_that_is_given_the_label_is_named(measure):
    model, data = Planted(4), served(*blobs(90))
    model.conditioner = model.into_encoder = object()
    found = measure(LinearProbe(), model, data, data)["linear_probe"]
    assert (
        found.note == "the posterior q(z|x, y) is given the label that is looked for in its mean"
    )
    model.into_encoder = None
    assert measure(LinearProbe(), model, data, data)["linear_probe"].note == ""
    model.into_prior, model.latents = True, SimpleNamespace(conditional=True)
    assert measure(LinearProbe(), model, data, data)["linear_probe"].note


def test_what_cannot_be_probed_says_why(measure):
    x, y = blobs(50)
    with pytest.raises(NotImplementedError, match="needs the training split"):
        measure(KNNProbe(), Planted(4), served(x, y))
    with pytest.raises(NotImplementedError, match="needs examples with labels"):
        measure(KNNProbe(), Planted(4), served(x, y), served(x))
    with pytest.raises(NotImplementedError, match="needs examples with labels"):
        measure(KNNProbe(), Planted(4), served(x, torch.full_like(y, -1)), served(x, y))
    with pytest.raises(NotImplementedError, match="'z' is a symbol, which has no mean"):
        represent(Planted(4, support="symbols"), served(x, y))
    x[7, 1] = torch.nan
    with pytest.raises(vaezoo.VaezooError, match="the posterior mean of example 7 is nan"):
        measure(KNNProbe(), Planted(4), served(x, y), served(x, y))
