"""Bounds of several samples: identities with the built-in ones, orders, and two gradients."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

import vaezoo
from vaezoo.runs.setup import prepare_training
from vaezoo.spec.load import load_spec
from vaezoo.testing import check_spec


def spec(objective, **model):
    return {
        "spec": "vaezoo/v2",
        "name": "bounds",
        "data": {"type": "digits", "binarize": "dynamic", "batch_size": 16},
        "model": {
            "latent_dim": 3,
            "encoder": {"type": "mlp", "hidden": [16]},
            "decoder": {"type": "mlp", "hidden": [16]},
            "likelihood": "bernoulli",
            **model,
        },
        "objective": objective,
        "regularizers": [],
        "train": {"steps": 2, "device": "cpu"},
        "evaluate": ["elbo"],
    }


def composed(objective):
    """The task of an objective, with the same weights and data for each."""
    torch.manual_seed(0)
    _, train, (task,) = prepare_training(load_spec(spec(objective)), torch.device("cpu"))
    return task.eval(), train.first(16)


def losses(objective, seed=1):
    """The loss of each example, and the gradient of the mean for each weight."""
    task, batch = composed(objective)
    torch.manual_seed(seed)
    loss, _ = task(batch)
    task.zero_grad()
    loss.mean().backward()
    gradients = {name: p.grad.clone() for name, p in task.model.named_parameters()}
    return loss.detach(), gradients


def same(first, second, part=""):
    for name, gradient in first.items():
        if part in name:
            torch.testing.assert_close(gradient, second[name], atol=1e-5, rtol=1e-4)


IWAE6 = {"type": "iwae", "samples": 6}
EQUAL = {
    "renyi of order 0": ({"type": "renyi", "alpha": 0.0, "samples": 6}, IWAE6),
    "miwae of one bound": ({"type": "miwae", "bounds": 1, "samples": 6}, IWAE6),
    "piwae of one bound": ({"type": "piwae", "bounds": 1, "samples": 6}, IWAE6),
    "ciwae without the elbo": ({"type": "ciwae", "beta": 0.0, "samples": 6}, IWAE6),
    "ciwae is the elbo": (
        {"type": "ciwae", "beta": 1.0, "samples": 6},
        {"type": "miwae", "bounds": 6, "samples": 1},
    ),
    "renyi of order 1": (
        {"type": "renyi", "alpha": 1.0, "samples": 6},
        {"type": "miwae", "bounds": 6, "samples": 1},
    ),
}


@pytest.mark.parametrize(("first", "second"), EQUAL.values(), ids=EQUAL)
def test_special_cases_are_the_same_losses_with_the_same_gradients(first, second):
    (one, one_gradients), (other, other_gradients) = losses(first), losses(second)
    torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-5)
    same(one_gradients, other_gradients)


def test_orders_of_the_same_samples_are_ordered():
    bounds = [
        -losses({"type": "renyi", "alpha": alpha, "samples": 8})[0].mean()
        for alpha in (-2.0, 0.0, 0.5, 1.0, 3.0)
    ]
    assert all(first > second for first, second in itertools.pairwise(bounds))
    near = -losses({"type": "renyi", "alpha": 1 - 1e-3, "samples": 8})[0].mean()
    assert abs(float(near - bounds[3])) < 0.05
    many, few = (
        -losses({"type": "miwae", "bounds": m, "samples": k})[0].mean()
        for m, k in ((2, 8), (8, 2))
    )
    assert many > few


def test_an_order_below_zero_selects_by_a_bound_that_is_one():
    task, batch = composed({"type": "renyi", "alpha": -1.0, "samples": 8})
    trace = task.model(batch, 8)
    log_mean = trace.log_weight.logsumexp(0) - math.log(8)
    torch.testing.assert_close(task.objective.bound(trace), log_mean)
    assert bool((-task.objective(trace) >= log_mean - 1e-5).all())


def test_piwae_trains_the_decoder_by_one_bound_and_the_encoder_by_many():
    value, gradients = losses({"type": "piwae", "bounds": 3, "samples": 4})
    whole, of_whole = losses({"type": "iwae", "samples": 12})
    _, of_parts = losses({"type": "miwae", "bounds": 3, "samples": 4})
    torch.testing.assert_close(value, whole, atol=1e-4, rtol=1e-5)
    same(gradients, of_whole, "decoder")
    same(gradients, of_parts, "encoder")
    same(gradients, of_parts, "posterior")
    for part in ("decoder", "encoder"):
        other = of_parts if part == "decoder" else of_whole
        gap = [float((gradients[n] - other[n]).abs().max()) for n in other if part in n]
        assert max(gap) > 1e-3, "the two gradients differ, or the test says nothing"


def test_orders_beside_one_are_near_the_elbo():
    elbo = losses({"type": "renyi", "alpha": 1.0, "samples": 8})[0]
    for alpha in (1 - 1e-8, 1 + 1e-5, 1 - 9e-4):
        near = losses({"type": "renyi", "alpha": alpha, "samples": 8})[0]
        torch.testing.assert_close(near, elbo, atol=0.05, rtol=0)


def test_piwae_takes_flows_and_refuses_what_it_is_not_defined_for():
    piwae = {"type": "piwae", "bounds": 2, "samples": 3}
    check_spec(spec(piwae, posterior={"type": "planar", "transforms": 2}))
    with pytest.raises(vaezoo.SpecError, match="is refined in the pass; use miwae"):
        check_spec(spec(piwae, latents={"type": "hamiltonian", "steps": 1}))


OBJECTIVES = {
    "renyi": {"type": "renyi", "samples": 3},
    "miwae": {"type": "miwae", "bounds": 2, "samples": 3},
    "piwae": {"type": "piwae", "bounds": 2, "samples": 3},
    "ciwae": {"type": "ciwae", "samples": 3},
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_objectives_keep_the_contracts(name):
    check_spec(spec(OBJECTIVES[name]))
    check_spec(spec(OBJECTIVES[name], condition={"type": "label"}))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_rate_is_not_paid_twice(name):
    with pytest.raises(vaezoo.SpecError, match="rate"):
        check_spec({**spec(OBJECTIVES[name]), "regularizers": ["kl"]})
