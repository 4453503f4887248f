"""Dependent Bernoulli numbers: probabilities of all vectors, samples, masks and models.

Shapes: B rows, D numbers, H hidden units.
"""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from vaezoo_autoregressive import dependence as networks
from vaezoo_autoregressive.bernoulli import (
    AutoregressiveBernoulli,
    AutoregressiveBernoulliLikelihood,
)
from vaezoo_autoregressive.dependence import Dependence, Shared

import vaezoo
from vaezoo.distributions import BinaryLogits, draw
from vaezoo.testing import check_spec

EXAMPLES = Path(__file__).parents[1] / "examples"


def distribution(shape=(2,), event=(5,), hidden=11, noise=1.5, seed=0, shared=3):
    """A distribution ``[*shape]`` whose numbers depend strongly on one another."""
    torch.manual_seed(seed)
    size = math.prod(event)
    dependence = Dependence(size, hidden, shared)
    with torch.no_grad():
        for parameter in dependence.parameters():
            parameter += noise * torch.randn_like(parameter)
    logits = torch.randn(*shape, *event)
    features = torch.randn(*shape, *event)
    return AutoregressiveBernoulli(logits, features, dependence, len(event))


def all_vectors(size):
    return torch.tensor(list(itertools.product((0.0, 1.0), repeat=size)))


@torch.no_grad()
def test_the_probabilities_of_all_vectors_sum_to_one():
    for event in ((5,), (1,), (2, 3)):
        p = distribution(event=event)
        x = all_vectors(math.prod(event)).reshape(-1, 1, *event)
        total = p.log_prob(x).logsumexp(0)
        torch.testing.assert_close(total, torch.zeros(2), atol=1e-5, rtol=0)
        cold = p.tempered(0.5).log_prob(x).logsumexp(0)
        torch.testing.assert_close(cold, torch.zeros(2), atol=1e-5, rtol=0)


@torch.no_grad()
def test_a_probability_is_the_product_of_those_that_samples_are_drawn_with():
    p = distribution()
    x, probabilities = p._draw(torch.Size((50,)), torch.bernoulli)
    by_hand = torch.where(x > 0, probabilities, 1 - probabilities).log().sum(-1)
    torch.testing.assert_close(p.log_prob(x), by_hand, atol=1e-4, rtol=1e-4)


def test_a_number_depends_on_those_before_it_and_on_all_of_them():
    torch.manual_seed(0)
    dependence = Dependence(6, 40)
    torch.nn.init.normal_(dependence.last.weight)
    torch.nn.init.constant_(dependence.context.bias, 9.0)  # every hidden unit is active
    x, features = torch.rand(6), torch.rand(6)
    slopes = torch.autograd.functional.jacobian(lambda v: dependence(v, features), x)
    before = torch.ones(6, 6).tril(-1) > 0
    assert bool((slopes[~before] == 0).all()) and bool((slopes[before] != 0).all())


@torch.no_grad()
def test_shared_units_see_distances_alone():
    torch.manual_seed(0)
    shared = Shared(6, 20)
    shared.last.normal_()
    ones, nothing, context = torch.eye(6), torch.zeros(6), torch.rand(20)
    without = shared(nothing, nothing, context)
    by_numbers = shared(ones, nothing, context) - without  # [which is 1, D]
    by_features = shared(nothing, ones, context) - without
    for distance in range(-5, 6):
        for added, is_seen in ((by_numbers, distance > 0), (by_features, True)):
            same = added.diagonal(distance)
            torch.testing.assert_close(same, same[:1].expand_as(same))
            assert (float(same[0].abs()) > 1e-4) == is_seen, distance


@torch.no_grad()
def test_chunks_of_rows_change_nothing(monkeypatch):
    p = distribution(shape=(3, 4))
    x = (torch.rand(4, 5) > 0.5).float()  # lacks a leading dimension of the features
    whole = p.log_prob(x)
    monkeypatch.setattr(networks, "_CHUNK", 2 * 3 * 5)  # two rows
    torch.testing.assert_close(p.log_prob(x), whole)


@torch.no_grad()
def test_samples_have_the_probabilities_of_the_density():
    p = distribution(shape=())
    x = all_vectors(5)
    samples = p.sample((20_000,))
    index = (samples @ (2.0 ** torch.arange(4, -1, -1))).long()
    counts = torch.bincount(index, minlength=32) / len(samples)
    known = p.log_prob(x).exp()
    error = (known * (1 - known) / len(samples)).sqrt()
    assert bool(((counts - known).abs() < 5 * error + 1e-4).all())
    expected = (known[:, None] * x).sum(0)
    means = torch.stack([p.mean for _ in range(400)])
    gap = (means.mean(0) - expected).abs()
    assert bool((gap < 5 * means.std(0) / 20 + 1e-6).all()), "an estimate without bias"


@torch.no_grad()
def test_temperature_zero_takes_the_more_probable_value_of_each_number():
    p = distribution(shape=(4,))
    first = draw(p, 0.0)
    assert torch.equal(first, draw(p, 0.0)) and torch.equal(first, p.tempered(1e-4).sample())


def test_it_starts_as_independent_numbers():
    logits = torch.randn(3, 5)
    p = AutoregressiveBernoulli(logits, torch.randn(3, 5), Dependence(5, 7), 1)
    x = (torch.rand(4, 3, 5) > 0.5).float()
    torch.testing.assert_close(p.log_prob(x), BinaryLogits(logits, 1).log_prob(x))


def spec(likelihood="autoregressive-bernoulli", **model):
    return {
        "spec": "vaezoo/v2",
        "name": "dependent",
        "data": {"type": "digits", "binarize": "dynamic", "batch_size": 32},
        "model": {
            "latent_dim": 3,
            "encoder": {"type": "mlp", "hidden": [16]},
            "decoder": {"type": "mlp", "hidden": [16]},
            "likelihood": likelihood,
            **model,
        },
        "train": {"steps": 5, "device": "cpu"},
        "evaluate": ["elbo"],
    }


def test_models_keep_the_contracts():
    check_spec(spec())
    layers = {"type": "conv", "channels": [4]}
    conv = {"encoder": layers, "decoder": layers}
    check_spec(spec(**conv, condition={"type": "label"}))


def likelihood(mask_dims=1, hidden=16):
    torch.manual_seed(0)
    data = vaezoo.DataSpec((6, 4), "binary", mask_dims=mask_dims)
    wiring = vaezoo.Wiring(data=data, train_size=10)
    return AutoregressiveBernoulliLikelihood(wiring, hidden=hidden)


def test_hidden_steps_do_not_count_and_steps_do_not_see_one_another():
    part = likelihood()
    with torch.no_grad():
        for parameter in part.parameters():
            parameter += torch.randn_like(parameter)
    h = torch.randn(2, 3, *part.parameter_shape)  # [K, B, T, 2 D]
    x = (torch.rand(3, 6, 4) > 0.5).float()
    mask = torch.arange(6) < torch.tensor([[6], [4], [1]])
    px = part(h, {})
    steps = px.log_prob(x)
    assert steps.shape == (2, 3, 6)

    def log_prob(x):
        batch = vaezoo.Batch(x, mask=mask)
        return part.log_prob(SimpleNamespace(px=px, batch=batch))

    torch.testing.assert_close(log_prob(x), (steps * mask).sum(-1))
    other = torch.where(mask[..., None], x, 1 - x)
    torch.testing.assert_close(log_prob(other), log_prob(x))
    changed = x.clone()
    changed[:, 2] = 1 - changed[:, 2]
    gap = (px.log_prob(changed) - steps).abs() > 1e-6
    assert bool(gap[:, :, 2].all()) and not bool(gap[:, :, [0, 1, 3, 4, 5]].any())


def test_numbers_that_repeat_others_cost_nothing():
    part = likelihood()
    half = (torch.rand(400, 6, 2, generator=torch.Generator().manual_seed(1)) > 0.5).float()
    x = torch.cat([half, half], -1)
    optimizer = torch.optim.Adam(part.parameters(), lr=0.05)
    h = torch.zeros(1, *part.parameter_shape)
    for _ in range(150):
        loss = -part(h, {}).log_prob(x).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) == pytest.approx(2 * math.log(2), abs=0.1), "of 4 log 2"
    drawn = part(h, {}).sample((50,))
    assert float((drawn[..., :2] == drawn[..., 2:]).float().mean()) > 0.95


def test_a_mask_over_single_numbers_is_refused():
    with pytest.raises(ValueError, match="hides single numbers; use bernoulli"):
        likelihood(mask_dims=2)


def test_the_example_keeps_the_contracts():
    check_spec(EXAMPLES / "dependent-digits.yaml")
