"""Scores by majority vote on codes whose scores are known."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from vaezoo_beta.sprites import SIZES
from vaezoo_beta.votes import (
    BetaVAEScore,
    FactorVAEScore,
    _Groups,
    _run_trials,
    active_dimensions,
    beta_vae_score,
    factor_vae_score,
)

import vaezoo

FEW = {"train": 2_000, "test": 1_000}
SCORES = pytest.mark.parametrize("score", [factor_vae_score, beta_vae_score])


@pytest.fixture(scope="module")
def factors():
    return np.random.default_rng(0).integers(SIZES, size=(10_000, len(SIZES)))


def standard(factors):
    return (factors - factors.mean(0)) / factors.std(0)


def noise(n, dimensions, seed=1):
    return np.random.default_rng(seed).normal(size=(n, dimensions))


def rotation(dimensions):
    return np.linalg.qr(np.random.default_rng(2).normal(size=(dimensions, dimensions)))[0]


@SCORES
def test_the_true_factors_score_one_at_the_full_size(score, factors):
    assert score(standard(factors), factors) == 1
    assert score(np.concatenate([noise(10_000, 5), standard(factors)], 1), factors) > 0.999


@SCORES
def test_noise_lowers_scores_step_by_step(score, factors):
    result = [
        score(standard(factors) + level * noise(10_000, 5), factors, **FEW)
        for level in (0.0, 1.0, 2.0, 4.0)
    ]
    assert result[0] == 1
    assert all(before > after + 0.01 for before, after in itertools.pairwise(result)), result
    assert result[-1] > 0.2


def test_a_rotation_lowers_scores(factors):
    z = standard(factors) @ rotation(5)
    assert factor_vae_score(z, factors, **FEW) < 0.8
    assert beta_vae_score(z, factors, **FEW) < 0.98  # the lenient one


@SCORES
def test_noise_alone_is_a_guess(score, factors):
    assert score(noise(10_000, 10), factors, **FEW) == pytest.approx(0.2, abs=0.04)


def test_a_constant_representation_has_no_vote_and_guesses(factors):
    z = np.full((10_000, 4), 0.3)
    assert factor_vae_score(z, factors, **FEW) == 0
    assert factor_vae_score(z, factors, **FEW, prune=0.0) == 0
    assert beta_vae_score(z, factors, **FEW) == pytest.approx(0.2, abs=0.04)


@SCORES
def test_neither_order_nor_scale_of_dimensions_matters(score, factors):
    z = standard(factors) + noise(10_000, 5)
    rng = np.random.default_rng(3)
    changed = (z * rng.choice([-1, 1], 5) * rng.uniform(1, 100, 5) + rng.normal(size=5))[
        :, rng.permutation(5)
    ]
    assert score(changed, factors, **FEW) == pytest.approx(score(z, factors, **FEW), abs=1e-9)


def test_a_collapsed_dimension_does_not_vote(factors):
    z = standard(factors) + noise(10_000, 5)
    collapsed = 1e-4 * standard(factors[:, :1])  # it would win every vote for shape
    alongside = np.concatenate([collapsed, z, np.full((10_000, 1), 2.0)], 1)
    assert active_dimensions(alongside, 0.05).tolist() == [
        False,
        True,
        True,
        True,
        True,
        True,
        False,
    ]
    assert factor_vae_score(alongside, factors, **FEW) == factor_vae_score(z, factors, **FEW)
    assert factor_vae_score(alongside, factors, **FEW, prune=0.0) > factor_vae_score(
        z, factors, **FEW
    )


def test_pruning_looks_at_the_variance():
    z = noise(50_000, 3) * np.sqrt([0.04, 0.06, 1.0])
    assert active_dimensions(z, 0.05).tolist() == [False, True, True]


def test_votes_agree_with_the_score_taken_one_by_one(factors):
    z = (standard(factors) + 1.5 * noise(10_000, 5)) * [1, 2, 3, 4, 5]
    rng = np.random.default_rng(9)
    ballot, votes = np.zeros((5, 5)), []
    for _ in range(3_000):
        k = rng.integers(5)
        group = np.flatnonzero(factors[:, k] == rng.integers(SIZES[k]))
        batch = z[rng.choice(group, 64)]
        votes.append((np.argmin(batch.var(0) / z.var(0)), k))
    for d, k in votes[:2_000]:
        ballot[d, k] += 1
    expected = np.mean([ballot[d].argmax() == k for d, k in votes[2_000:]])
    assert factor_vae_score(z, factors, train=10_000, test=10_000) == pytest.approx(
        expected, abs=0.05
    )


@pytest.mark.parametrize("shape", [(64,), (7, 2)])
def test_the_examples_of_a_trial_share_a_value(shape):
    factors = np.random.default_rng(0).integers([3, 4], size=(2_000, 2))
    codes = factors.astype(float)

    def shared(
        group,
    ):  # [trials, *shape, D]: whether a dimension is the same along the last axis of shape
        same = (group == group[..., :1, :]).all(-2)
        return same.reshape(len(group), -1, 2).all(1)

    fixed, same = _run_trials(codes, factors, trials=500, shape=shape, reduce=shared, seed=0)
    assert (same[np.arange(500), fixed] == 1).all()
    assert same[np.arange(500), 1 - fixed].mean() < 0.1
    assert np.bincount(fixed).min() > 200


def test_groups_hold_every_example_of_a_value_and_no_other():
    values = np.array([4, 2, 2, 9, 4, 2, 4, 7])
    groups = _Groups.from_values(values, min_size=2)
    samples = groups.sample((2_000, 5), np.random.default_rng(0))
    assert set(map(int, samples.flat)) == {0, 1, 2, 4, 5, 6}  # 7 and 9 are too rare
    assert (values[samples] == values[samples[:, :1]]).all()
    assert np.mean(values[samples[:, 0]] == 2) == pytest.approx(
        0.5, abs=0.05
    )  # values alike, whatever their size


@SCORES
def test_one_factor_is_no_choice(score, factors):
    with pytest.raises(NotImplementedError, match="two factors"):
        score(standard(factors), factors[:, :1], **FEW)


def test_too_few_examples_are_said_to_be_so(factors):
    with pytest.raises(NotImplementedError, match="64 examples"):
        factor_vae_score(standard(factors)[:100], factors[:100], **FEW)


@pytest.mark.parametrize("metric", [FactorVAEScore(**FEW), BetaVAEScore(**FEW)])
def test_components_say_what_they_measured(metric, factors):
    model = SimpleNamespace(posterior_mean=lambda batch: batch.x)
    z = np.concatenate([standard(factors), np.zeros((10_000, 1))], 1)
    split = vaezoo.Split(torch.as_tensor(z), factors=torch.as_tensor(factors))
    data = vaezoo.Loader(split, torch.device("cpu"), 64)
    torch.manual_seed(0)
    result = metric(model, data)
    torch.manual_seed(0)
    assert metric(model, data) == result
    (estimate,) = result.values()
    assert (estimate.value, estimate.unit, estimate.examples) == (1, "score", 10_000)
    assert estimate.details["chance"] == 0.2
    if isinstance(metric, FactorVAEScore):
        assert estimate.details["voting_dimensions"] == 5
