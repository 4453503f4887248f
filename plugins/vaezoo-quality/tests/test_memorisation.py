"""Copies of training examples are found, and independent draws are not taken for copies."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import mannwhitneyu
from vaezoo_quality.memorisation import NearerToTrain, Neighbours, data_copying


def share_of(samples, train, held_out):
    return NearerToTrain.of(Neighbours.of(samples, train, held_out).nearest_to)


def examples(n=300, dims=6):
    return torch.randn(n, dims)


def test_neighbours_are_those_of_a_direct_search():
    torch.manual_seed(4)
    samples, train, held_out = examples(700), examples(50), examples(50)
    found = Neighbours.of(samples, train, held_out)
    distances = torch.cdist(samples.double(), torch.cat([train, held_out]).double())
    assert torch.equal(found.nearest_to, torch.bincount(distances.argmin(1), minlength=100))
    expected = distances[:, :50].min(1).values.square()
    torch.testing.assert_close(found.to_train.double(), expected, rtol=1e-5, atol=1e-5)
    assert (
        NearerToTrain.of(found.nearest_to).share == float((distances.argmin(1) < 50).sum()) / 700
    )


def test_the_deviation_is_that_over_all_divisions():
    counts = torch.tensor([5, 0, 1, 9, 2, 2, 0, 1])
    shares = [
        NearerToTrain.of(counts[torch.randperm(8, generator=torch.Generator().manual_seed(i))])
        for i in range(3000)
    ]
    spread = float(torch.tensor([each.share for each in shares]).std())
    assert shares[0].deviation == pytest.approx(spread, rel=0.05)


def test_a_planted_copier_is_found():
    """A fifth of the samples are training examples with a little noise."""
    torch.manual_seed(0)
    train, held_out, samples = examples(), examples(), examples(600)
    samples[:120] = train[torch.randint(300, (120,))] + 0.01 * torch.randn(120, 6)
    found = share_of(samples, train, held_out)
    assert found.p_value < 1e-3 and found.share > 0.5
    copies = train + 0.01 * examples()
    distances = [Neighbours.of(x, train, held_out).to_train for x in (copies, held_out)]
    assert data_copying(*distances) < -15


@pytest.mark.parametrize("rounded", [False, True])
def test_independent_draws_are_not(rounded):
    """Also where many examples are equally near, as binary images are."""
    torch.manual_seed(1)
    p_values, deviations = [], []
    for _ in range(50):
        train, held_out, samples = examples(), examples(), 0.8 * examples(3000)
        if rounded:
            train, held_out, samples = (x.round() for x in (train, held_out, samples))
        found = share_of(samples, train, held_out)
        p_values.append(found.p_value)
        deviations.append(found.z)
    assert sum(p < 0.05 for p in p_values) <= 5
    assert 0.75 < torch.tensor(deviations).std() < 1.3


def test_more_samples_than_examples_do_not_make_chance_significant():
    """The binomial deviation of 20,000 samples would be far too small."""
    torch.manual_seed(2)
    found = share_of(examples(20_000, 2), examples(50, 2), examples(50, 2))
    assert found.deviation > 5 * 0.5 / 20_000**0.5


def test_the_statistic_of_data_copying_is_that_of_mann_and_whitney():
    """Also with equal distances."""
    torch.manual_seed(3)
    distances = (4 * torch.rand(70)).round(), (5 * torch.rand(40)).round()
    expected = mannwhitneyu(*distances, method="asymptotic", use_continuity=False)
    found = data_copying(*distances)
    p_value = torch.special.erfc(torch.tensor(abs(found)).double() / 2**0.5)
    assert float(p_value) == pytest.approx(expected.pvalue, rel=1e-6)
    assert (found > 0) == (expected.statistic > 70 * 40 / 2)
