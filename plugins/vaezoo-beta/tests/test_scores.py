"""Scores of disentanglement on codes whose scores are known, and in runs."""

from __future__ import annotations

import itertools
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.metrics import mutual_info_score
from vaezoo_beta.representation import represent
from vaezoo_beta.scores import (
    DCI,
    MIG,
    SAP,
    Modularity,
    _concentration,
    dci,
    discretize,
    entropy,
    mig,
    modularity,
    mutual_information,
    sap,
    top_two_gap,
)
from vaezoo_beta.sprites import SIZES

import vaezoo

CPU = torch.device("cpu")


def sprites_factors(n=10_000, seed=0):
    return np.random.default_rng(seed).integers(SIZES, size=(n, len(SIZES)))


def few_factors(n=2_000):
    """Few values, for forests that grow quickly."""
    return np.random.default_rng(0).integers([3, 4, 5], size=(n, 3))


def standard(factors):
    return (factors - factors.mean(0)) / factors.std(0)


def noisy(factors, level, dimensions=10, seed=1):
    """Standardised factors under noise, and dimensions of pure noise beside them."""
    rng = np.random.default_rng(seed)
    code = standard(factors) + level * rng.normal(size=factors.shape)
    return np.concatenate([code, rng.normal(size=(len(factors), dimensions - code.shape[1]))], 1)


def rotated(z, seed=2):
    return z @ np.linalg.qr(np.random.default_rng(seed).normal(size=(z.shape[1], z.shape[1])))[0]


def scores(z, factors):
    """Every score of this module: mig, modularity, sap, then those of DCI."""
    train = len(z) * 2 // 3
    return np.array(
        [
            mig(z, factors),
            modularity(z, factors),
            sap(z, factors, train),
            *dci(z, factors, train=train, trees=5, seed=0),
        ]
    )


def two_bits(n=2_000):
    return np.random.default_rng(0).integers(2, size=(n, 2))


def test_mutual_information_is_scikit_learns():
    factors = sprites_factors(3_000)
    codes = discretize(noisy(factors, 0.5), 20)
    result = mutual_information(codes, factors)
    for d, f in np.ndindex(10, 5):
        assert result[d, f] == pytest.approx(
            mutual_info_score(codes[:, d], factors[:, f]), abs=1e-12
        )


def test_bins_are_those_of_a_histogram():
    z = np.random.default_rng(0).normal(size=(5_000, 3))
    for column, codes in zip(z.T, discretize(z, 20).T, strict=True):
        assert np.array_equal(np.bincount(codes, minlength=20), np.histogram(column, 20)[0])


def test_entropy_of_known_histograms():
    assert entropy(np.array([5, 5, 0, 5, 5])) == pytest.approx(math.log(4))
    assert entropy(np.array([0, 7, 0])) == 0


def test_a_lead_is_over_the_second_best():
    assert top_two_gap(np.array([[0.1, 0.9], [0.4, 0.2], [0.3, 0.5]])).tolist() == pytest.approx(
        [0.1, 0.4]
    )
    assert top_two_gap(np.array([[0.3, 0.6]])).tolist() == [0.3, 0.6]


def test_the_true_factors_reach_the_caps():
    factors = sprites_factors()
    z = factors.astype(float)
    assert mig(z, factors) == pytest.approx(0.896, abs=0.003)
    assert mig(z, factors, bins=40) > 0.98
    assert modularity(z, factors) == pytest.approx(1, abs=0.002)
    assert dci(z, factors, train=7_000, trees=5, seed=0) == pytest.approx((1, 1, 1), abs=0.02)
    assert sap(z, factors, 7_000) == pytest.approx(0.25, abs=0.02)


def test_two_perfect_bits():
    factors = two_bits()
    z = factors.astype(float)
    assert mig(z, factors) == pytest.approx(1, abs=0.01)
    assert modularity(z, factors) == pytest.approx(1, abs=0.01)
    assert sap(z, factors, 1_000) == pytest.approx(0.5, abs=0.05)  # the other dimension guesses
    assert dci(z, factors, train=1_000, trees=5, seed=0) == pytest.approx((1, 1, 1), abs=0.01)


def test_only_examples_that_were_not_trained_on_are_tested():
    factors = two_bits()
    z = np.concatenate([factors[:1_000], 1 - factors[1_000:]]).astype(
        float
    )  # after training, all is reversed
    assert dci(z, factors, train=1_000, trees=5, seed=0)[2] == 0
    assert sap(z, factors, 1_000) == pytest.approx(
        0.5, abs=0.05
    )  # the dimension that guesses is now the best
    z[:, 1] = factors[:, 0]
    assert sap(z, factors[:, :1], 1_000) == 1  # one dimension always right, the other always wrong


def test_a_dimension_that_says_two_things_is_not_modular():
    bits = np.array(list(itertools.product((0, 1), repeat=3)))  # each combination once
    both = (2 * bits[:, :1] + bits[:, 1:2]).astype(float)
    assert modularity(both, bits[:, :2]) == pytest.approx(0)
    assert modularity(both, bits) == pytest.approx(0.5)
    assert modularity(np.concatenate([both, bits[:, 2:]], 1), bits) == pytest.approx(0.75)


def test_a_copy_closes_the_gap_and_ends_completeness():
    factors = two_bits()
    z = np.concatenate([factors, factors], 1).astype(float)
    assert mig(z, factors) == 0
    assert sap(z, factors, 1_000) == 0
    disentanglement, completeness, informativeness = dci(z, factors, train=1_000, trees=50, seed=0)
    assert (disentanglement, informativeness) == pytest.approx((1, 1), abs=0.01)
    assert completeness == pytest.approx(0.5, abs=0.05)  # 1 - log 2 / log 4


def test_concentration_of_known_importances():
    assert _concentration(np.eye(4)) == pytest.approx(1)
    assert _concentration(np.ones((4, 3))) == pytest.approx(0)
    assert _concentration(np.zeros((4, 3))) == 0
    assert _concentration(np.array([[0.0, 0.0], [3.0, 0.0], [0.5, 0.5]])) == pytest.approx(0.75)
    assert _concentration(np.array([[2.0], [1.0]])) == pytest.approx(1)


def test_a_rotation_costs_nearly_everything_but_modularity():
    factors = few_factors()
    z = noisy(factors, 0.0)
    gap, _, separated, disentanglement, completeness, _ = scores(rotated(z), factors)
    assert max(gap, separated) < 0.15
    assert max(disentanglement, completeness) < 0.4
    assert mig(z, factors) == pytest.approx(1, abs=0.02)
    assert mig(rotated(noisy(sprites_factors(), 0.0)), sprites_factors()) < 0.1


def test_a_constant_representation_scores_nothing():
    factors = few_factors()
    result = scores(np.full((2_000, 4), 0.3), factors)
    assert result[:-1].tolist() == [0] * 5
    assert result[-1] == pytest.approx(np.mean([1 / 3, 1 / 4, 1 / 5]), abs=0.04)


def test_noise_alone_scores_nothing():
    factors = few_factors()
    result = scores(noisy(factors, 0.0)[:, 3:], factors)
    assert max(result[0], *result[2:5]) < 0.05


def test_noise_lowers_scores_step_by_step():
    levels = (0.0, 0.1, 0.3, 1.0, 3.0)
    many, few = sprites_factors(6_000), few_factors()
    for score, factors in (
        (mig, many),
        (lambda z, f: sap(z, f, 4_000), many),
        (lambda z, f: dci(z, f, train=1_400, trees=5, seed=0)[2], few),
    ):
        result = [score(noisy(factors, level), factors) for level in levels[factors is few :]]
        assert all(before > after + 0.003 for before, after in itertools.pairwise(result)), result


def test_neither_order_nor_scale_of_dimensions_matters():
    factors = few_factors()
    z = noisy(factors, 0.5)
    rng = np.random.default_rng(3)
    changed = (z * rng.choice([-1, 1], 10) * rng.uniform(0.01, 100, 10) + rng.normal(size=10))[
        :, rng.permutation(10)
    ]
    before, after = scores(z, factors), scores(changed, factors)
    assert after[:3] == pytest.approx(before[:3], abs=2e-3)
    assert after[3:] == pytest.approx(before[3:], abs=0.05)


def test_one_factor_cannot_be_compared_with_others():
    factors = two_bits()[:, :1]
    assert mig(factors.astype(float), factors) == pytest.approx(1)
    for score in (
        lambda: modularity(factors * 1.0, factors),
        lambda: dci(factors * 1.0, factors, train=1_000, trees=5, seed=0),
    ):
        with pytest.raises(NotImplementedError, match="two factors"):
            score()


# What components do with a model and a split.

READER = SimpleNamespace(posterior_mean=lambda batch: batch.x)
"""A model whose posterior means are its input."""


def as_data(z, factors, **more):
    split = vaezoo.Split(torch.as_tensor(z), factors=torch.as_tensor(factors), **more)
    return vaezoo.Loader(split, CPU, 32)


class Lazy(torch.utils.data.Dataset):
    def __init__(self, z):
        self.z = torch.as_tensor(z)

    def __len__(self):
        return len(self.z)

    def __getitem__(self, index):
        return self.z[index], None


def test_examples_are_drawn_without_replacement_each_beside_its_factors():
    factors = np.stack([np.arange(300), np.arange(300) % 7], 1)
    data = as_data(factors * 2.0, factors)
    means, result = represent(READER, data, 200, seed=0)
    assert (means.dtype, means.shape, result.shape) == (np.float64, (200, 2), (200, 2))
    assert len(set(result[:, 0].tolist())) == 200
    assert np.array_equal(means, result * 2)
    assert np.array_equal(represent(READER, data, 200, seed=0)[1], result)
    assert not np.array_equal(represent(READER, data, 200, seed=1)[1], result)
    assert (
        len(represent(READER, data, 0, seed=0)[0])
        == len(represent(READER, data, 999, seed=0)[0])
        == 300
    )


def test_a_mean_that_is_nan_is_named_by_its_place_in_the_split():
    """It would make no dimension active, or fall into some bin."""
    factors = np.stack([np.arange(300), np.arange(300) % 7], 1)
    z = factors * 2.0
    z[17, 1] = np.nan
    with pytest.raises(vaezoo.VaezooError, match="the posterior mean of example 17 is nan"):
        represent(READER, as_data(z, factors), 0, seed=0)


def test_data_that_is_read_lazily_is_encoded_too():
    factors = np.stack([np.arange(100), np.arange(100) % 7], 1)
    split = vaezoo.Split(Lazy(factors * 2.0), factors=torch.as_tensor(factors))
    means, result = represent(READER, vaezoo.Loader(split, CPU, 16), 80, seed=0)
    assert np.array_equal(means, result * 2)


def test_factors_that_do_not_vary_are_left_out():
    factors = np.stack([np.arange(50), np.full(50, 3)], 1)
    assert represent(READER, as_data(factors * 1.0, factors), 0, seed=0)[1].shape == (50, 1)
    with pytest.raises(NotImplementedError, match="varies"):
        represent(READER, as_data(factors[:, 1:] * 1.0, factors[:, 1:]), 0, seed=0)


@pytest.mark.parametrize("metric", [MIG(), SAP(), DCI(), Modularity()])
def test_components_say_what_they_measured(metric):
    factors = few_factors(1_500)
    data = as_data(standard(factors), factors)
    torch.manual_seed(0)
    result = metric(READER, data)
    torch.manual_seed(0)
    assert metric(READER, data) == result
    for estimate in result.values():
        assert (estimate.unit, estimate.examples, estimate.error) == ("score", 1_500, None)
        assert 0 <= estimate.value <= 1


def test_examples_are_divided_in_proportion_where_there_are_few():
    factors = sprites_factors(900)
    result = SAP(train=10_000, test=5_000)(READER, as_data(standard(factors), factors))
    assert result["sap"].details == {"trained_on": 600}


TINY = {
    "latent_dim": 6,
    "encoder": {"type": "mlp", "hidden": [8]},
    "decoder": {"type": "mlp", "hidden": [8]},
}


def test_a_run_says_why_a_score_is_undefined(tmp_path):
    spec = {
        "spec": "vaezoo/v1",
        "name": "t",
        "data": "digits",
        "train": {"steps": 1},
        "evaluate": ["mig", "dci"],
    }
    run = vaezoo.run({**spec, "model": {**TINY, "likelihood": "normal"}}, out=tmp_path)
    assert run.evaluation["undefined"] == dict.fromkeys(
        ("mig", "dci"), "needs data with known factors"
    )


def test_a_run_on_sprites_is_scored(tmp_path):
    some, votes = (
        {"train": 600, "test": 300},
        {"train": 200, "test": 100, "batch": 20, "examples": 3_000},
    )
    spec = {
        "spec": "vaezoo/v1",
        "name": "t",
        "data": {"type": "sprites", "train": 64},
        "model": {**TINY, "likelihood": "bernoulli"},
        "train": {"steps": 1},
        "evaluate": [
            *({"type": name, "examples": 500} for name in ("mig", "modularity")),
            *({"type": name, **some} for name in ("sap", "dci")),
            *({"type": name, **votes} for name in ("factor-vae-score", "beta-vae-score")),
        ],
    }
    run = vaezoo.run(spec, out=tmp_path)
    result = run.evaluation["metrics"]
    assert set(result) == {
        "mig",
        "modularity",
        "sap",
        "dci_disentanglement",
        "dci_completeness",
        "dci_informativeness",
        "factor_vae_score",
        "beta_vae_score",
    }
    assert all(0 <= row["value"] <= 1 and row["unit"] == "score" for row in result.values())
    assert result["mig"]["examples"] == 500 and result["sap"]["trained_on"] == 600
    assert run.evaluate()["metrics"] == result
