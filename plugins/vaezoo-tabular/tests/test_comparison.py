"""Comparisons of rows, with scipy and rows of known distances as oracles."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from vaezoo_tabular.comparison import (
    Rows,
    associations,
    closest_record_share,
    contradictions,
    discriminator_auroc,
    features,
    kolmogorov_smirnov,
    marginal_distances,
    membership_auroc,
    total_variation,
)
from vaezoo_tabular.utility import train_and_test

RNG = np.random.default_rng(0)


def rows(n, shift=0.0, seed=0):
    """Numbers a and b, of which some of a are missing, and categories that depend on b."""
    rng = np.random.default_rng(seed)
    b = rng.normal(shift, 1, n)
    a = np.where(rng.random(n) < 0.1, np.nan, 2 * b + rng.normal(size=n))
    town = np.clip(np.rint(b + rng.normal(0, 0.5, n)) + 1, 0, 2).astype(int)
    member = (rng.random(n) < 1 / (1 + np.exp(-3 * b))).astype(int)
    return Rows({"a": a, "b": b}, {"town": town, "member": member}, {"town": 4, "member": 3})


def test_the_distance_of_two_samples_is_that_of_scipy():
    a, b = RNG.normal(size=300), RNG.normal(0.3, 1, 200)
    assert kolmogorov_smirnov(a, b) == pytest.approx(stats.ks_2samp(a, b).statistic)
    holes = np.where(np.arange(300) % 7 == 0, np.nan, a)
    assert kolmogorov_smirnov(holes, b) == pytest.approx(
        stats.ks_2samp(holes[~np.isnan(holes)], b).statistic
    )
    assert kolmogorov_smirnov(np.full(3, np.nan), b) == 1.0


def test_the_total_variation_of_categories():
    assert total_variation(np.array([0, 0, 1, 1]), np.array([0, 2, 2, 2]), 3) == 0.75
    assert total_variation(np.array([1, 0]), np.array([0, 1]), 3) == 0


def test_associations_are_those_of_scipy():
    data = rows(2000)
    a, b = data.numbers["a"], data.numbers["b"]
    town, member = data.categories["town"], data.categories["member"]
    given = ~np.isnan(a)
    table = stats.contingency.crosstab(town, member).count
    groups = [b[town == each] for each in range(3)]
    f = stats.f_oneway(*groups).statistic  # eta squared from the F statistic
    eta = np.sqrt(f * 2 / (f * 2 + len(b) - 3))
    found = associations(data)  # of (b, a), (town, a), (town, b), (member, a), (member, b), ...
    assert len(found) == 6
    assert found[0] == pytest.approx(abs(stats.pearsonr(a[given], b[given]).statistic))
    assert found[2] == pytest.approx(eta)
    assert found[5] == pytest.approx(stats.contingency.association(table, method="cramer"))


def test_constant_columns_have_no_association():
    data = Rows({"a": np.ones(5), "b": np.arange(5.0)}, {"c": np.zeros(5, int)}, {"c": 2})
    assert associations(data).tolist() == [0, 0, 0]


def test_rows_of_one_distribution_cannot_be_told_apart():
    train, other, far = rows(2000), rows(2000, seed=1), rows(2000, shift=1.0, seed=2)
    numbers, categories = marginal_distances(train, other)
    assert max(numbers + categories) < 0.06
    assert min(marginal_distances(train, far)[0]) > 0.3
    assert abs(discriminator_auroc(train, other, 0) - 0.5) < 0.05
    assert discriminator_auroc(train, far, 0) > 0.7


def test_copies_of_training_rows_are_found():
    train, held_out, fresh = (rows(400, seed=seed) for seed in range(3))
    x, y, z = (features(each, train) for each in (train, held_out, fresh))
    assert closest_record_share(x, x, y) == 1.0 and closest_record_share(y, x, y) == 0.0
    assert abs(closest_record_share(z, x, y) - 0.5) < 0.1
    assert membership_auroc(x, x, y) > 0.95 and abs(membership_auroc(z, x, y) - 0.5) < 0.1


def test_features_are_standardised_and_know_missing_cells():
    data = rows(500)
    x = features(data, data)
    assert x.shape == (500, 2 + 1 + 4 + 3)  # a with its indicator, b, town, member
    assert x[:, 1].sum() == np.isnan(data.numbers["a"]).sum()
    assert abs(x[:, 2].mean()) < 1e-9 and x[:, 2].std() == pytest.approx(1)
    assert (x[:, 3:7].sum(1) == 1).all()


def test_utility_of_real_rows_is_higher_than_of_shuffled_ones():
    train, test = rows(1500), rows(1500, seed=1)
    real = train_and_test(train, test, "member", 1, seed=0)
    assert min(real.auroc.values()) > 0.7
    shuffled = Rows(
        train.numbers,
        {**train.categories, "member": RNG.permutation(train.categories["member"])},
        train.counts,
    )
    broken = train_and_test(shuffled, test, "member", 1, seed=0)
    assert np.mean(list(broken.auroc.values())) < 0.6 < np.mean(list(real.auroc.values()))
    several = train_and_test(train, test, "town", None, seed=0)
    assert np.mean(list(several.auroc.values())) > 0.75
    constant = Rows(
        train.numbers, {**train.categories, "member": np.ones(1500, int)}, train.counts
    )
    with pytest.raises(ValueError, match="all rows that classifiers learn from have"):
        train_and_test(constant, test, "member", 1, seed=0)


def test_contradictions_are_counted_where_one_column_determines_another() -> None:
    degree = np.tile([0, 1, 2], 20)
    years = np.array([9.0, 13.0, np.nan])[degree]
    counts = {"degree": 4, "other": 3}
    other = np.arange(60) % 2
    real = Rows({"years": years}, {"degree": degree, "other": other}, counts)
    made = Rows(
        {"years": np.array([9.0, 13.0, np.nan, 13.0, 9.0, 99.0])},
        {"degree": np.array([0, 1, 2, 0, 3, 2]), "other": np.zeros(6, int)},
        counts,
    )
    # row 3: a degree of 9 years has 13; row 4: 9 years with an unseen degree; row 5: 99 years
    assert contradictions(real, made) == pytest.approx(3 / 6)
    assert contradictions(real, real) == 0
    alone = Rows({}, {"degree": degree, "other": other}, counts)
    assert contradictions(alone, alone) is None
