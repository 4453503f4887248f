"""The parts of the KL against exact enumeration of q(z) = 1/N Σ q(z|x_n) on small sets of
normals."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch.distributions import Independent, LowRankMultivariateNormal, Normal
from vaezoo_beta import total_correlation
from vaezoo_beta.total_correlation import BetaTC, decompose, log_weights

import vaezoo
from vaezoo.distributions import DiagonalNormal, NormalMixture, UnitNormal
from vaezoo.testing import check_spec

from .conftest import given_trace, task_wiring

ENCODERS = ["mlp", {"type": "conv", "channels": [8, 8], "norm": "batch"}]


@pytest.fixture(autouse=True)
def one_seed():
    torch.manual_seed(0)


def spec(regularizer, encoder="mlp", **model):
    return {
        "spec": "vaezoo/v1",
        "name": "tc",
        "data": {"type": "digits", "batch_size": 32},
        "model": {
            "latent_dim": 3,
            "encoder": encoder,
            "decoder": "mlp",
            "likelihood": "bernoulli",
            **model,
        },
        "regularizers": [regularizer],
        "train": {"epochs": 1, "optimizer": {"type": "sgd", "lr": 1e-4}},
    }


class SequenceLatent:
    """N examples, the posterior of each, and samples of it: everything about q(z) can be
    enumerated."""

    def __init__(self, n=6, dimensions=2, k=1, seed=0):
        generator = torch.Generator().manual_seed(seed)
        self.mean = torch.randn(n, dimensions, generator=generator, dtype=torch.float64)
        self.log_scale = (
            0.3 * torch.randn(n, dimensions, generator=generator, dtype=torch.float64) - 0.5
        )
        noise = torch.randn(k, n, dimensions, generator=generator, dtype=torch.float64)
        self.z = self.mean + self.log_scale.exp() * noise
        self.n, self.dimensions = n, dimensions

    def site(self, index=slice(None)):
        """The latent variable as a batch of the examples at ``index`` sees it."""
        q = DiagonalNormal(self.mean[index], self.log_scale[index])
        zero = torch.zeros(self.dimensions, dtype=torch.float64)
        return vaezoo.Site("z", self.z[:, index], q, UnitNormal(zero))

    def trace(self):
        return given_trace(vaezoo.Batch(torch.zeros(self.n, 1)), self.site())

    def densities(self, z):
        """q(z_d | x_n) for one z, ``[N, D]``, written out."""
        scale = self.log_scale.exp()
        return torch.exp(-0.5 * ((z - self.mean) / scale) ** 2) / (scale * math.sqrt(2 * math.pi))

    def exact(self):
        """I, TC and KL of the dimensions at every sample, by enumeration, ``[K, N]`` each."""
        parts = torch.empty(3, *self.z.shape[:2], dtype=torch.float64)
        for k, i in itertools.product(*map(range, self.z.shape[:2])):
            p = self.densities(self.z[k, i])
            own, joint, product = p.prod(1)[i].log(), p.prod(1).mean().log(), p.mean(0).log().sum()
            prior = -0.5 * (self.z[k, i] ** 2 + math.log(2 * math.pi)).sum()
            parts[:, k, i] = torch.stack([own - joint, joint - product, product - prior])
        return parts


def estimate_of_q(complete, batch, train_size, position):
    """exp of the estimate of log q(z_i) that a batch gives for the example at ``position``, and
    log q(z_i | x_i)."""
    site = complete.site(list(batch))
    own = site.q.log_prob(site.z)[0]
    return (own - decompose(site, train_size).index_code).exp()[position]


def by_column(like, train_size, estimator):
    """The weights as the paper's code and its heirs write them: into columns 0 and 1."""
    batch_size = len(like)
    others = batch_size - 1
    strat = (train_size - others) / (train_size * others)
    weights = torch.full_like(like, 1 / others)
    weights.view(-1)[:: others + 1] = 1 / train_size
    weights.view(-1)[1 :: others + 1] = strat
    weights[others - 1, 0] = strat
    return weights.log()


@pytest.fixture
def column_bug(monkeypatch):
    monkeypatch.setattr(total_correlation, "log_weights", by_column)


def means_over_all_batches(complete, size):
    """For each example: the mean estimate of q(z_i), over every batch that it is in and every
    order of the batch."""
    result = []
    for i in range(complete.n):
        batches = [
            batch for batch in itertools.permutations(range(complete.n), size) if i in batch
        ]
        result.append(
            sum(estimate_of_q(complete, batch, complete.n, batch.index(i)) for batch in batches)
            / len(batches)
        )
    return torch.stack(result)


def aggregate(complete):
    return torch.stack([complete.densities(z).prod(1).mean() for z in complete.z[0]])


@pytest.mark.parametrize("encoder", ENCODERS, ids=["mlp", "conv"])
@pytest.mark.parametrize("estimator", ["stratified", "weighted"])
def test_it_keeps_the_contract(estimator, encoder):
    check_spec(spec({"type": "beta-tc", "estimator": estimator, "alpha": 0.5}, encoder))


@pytest.mark.parametrize("k", [1, 3])
def test_with_the_whole_data_set_the_stratified_estimate_is_exact(k):
    complete = SequenceLatent(k=k)
    parts = decompose(complete.site(), complete.n, "stratified")
    torch.testing.assert_close(torch.stack(parts), complete.exact().mean(1), rtol=1e-9, atol=1e-9)


def test_with_the_whole_data_set_the_weighted_estimate_is_exact_but_for_log_n():
    complete = SequenceLatent()
    log_n = math.log(complete.n)
    parts = decompose(complete.site(), complete.n, "weighted")  # it takes q(z) / N for q(z)
    offset = (
        torch.tensor([1, complete.dimensions - 1, -complete.dimensions], dtype=torch.float64)
        * log_n
    )
    torch.testing.assert_close(
        torch.stack(parts), complete.exact().mean(1) + offset[:, None], rtol=1e-9, atol=1e-9
    )


@pytest.mark.parametrize("size", [2, 3, 4])
@pytest.mark.parametrize("dimensions", [1, 2])
def test_the_stratified_estimate_of_q_is_unbiased_over_all_batches(size, dimensions):
    complete = SequenceLatent(5, dimensions)
    torch.testing.assert_close(
        means_over_all_batches(complete, size), aggregate(complete), rtol=1e-9, atol=1e-12
    )


def test_the_weighted_estimate_of_q_is_biased():
    """A reminder of what ``weighted`` is: with the whole data set it is q(z) / N."""
    complete = SequenceLatent()
    site = complete.site()
    estimate = (
        site.q.log_prob(site.z)[0] - decompose(site, complete.n, "weighted").index_code
    ).exp()
    torch.testing.assert_close(estimate, aggregate(complete) / complete.n, rtol=1e-9, atol=1e-12)


def test_weights_in_a_column_fail_both_tests(column_bug):
    complete = SequenceLatent(5)
    parts = torch.stack(decompose(complete.site(), complete.n))
    assert (parts - complete.exact()[:, 0]).abs().max() > 0.1
    ratio = means_over_all_batches(complete, 3) / aggregate(complete)
    assert (ratio - 1).abs().min() > 0.05, "biased for every example"


@pytest.mark.parametrize(("size", "train_size"), [(2, 2), (4, 4), (8, 1000), (64, 737_280)])
def test_the_weights_of_a_row_sum_to_one_and_the_own_sample_has_one_part_in_n(size, train_size):
    weights = log_weights(torch.empty(size, size).double(), train_size, "stratified").exp()
    torch.testing.assert_close(
        weights.sum(1), torch.ones(size, dtype=torch.float64), rtol=1e-12, atol=0
    )
    torch.testing.assert_close(
        weights.diagonal() * train_size, torch.ones(size, dtype=torch.float64), rtol=1e-5, atol=0
    )


def test_ours_is_the_papers_stratified_estimate_averaged_over_the_order_of_the_batch():
    size, n = 5, 40
    others = size - 1
    paper = [(n - others) / (n * others)] + [1 / others] * (
        others - 1
    )  # appendix C.2: one of them, and the rest
    mean = torch.tensor([sum(paper) / others] * others)
    torch.testing.assert_close(
        log_weights(torch.empty(size, size), n, "stratified").exp()[0, 1:], mean
    )


@pytest.mark.parametrize("estimator", ["stratified", "weighted"])
def test_the_parts_sum_to_the_rate_in_expectation(estimator):
    complete = SequenceLatent(k=20_000)
    total = sum(decompose(complete.site(), 50, estimator))
    torch.testing.assert_close(total, complete.trace().mean_rate, rtol=0, atol=0.03)
    torch.testing.assert_close(total, complete.site().log_ratio.mean(0))


def test_with_equal_weights_it_is_the_rate_itself():
    trace = SequenceLatent().trace()
    value = BetaTC(task_wiring(2, 50), alpha=2.5, beta=2.5, gamma=2.5)(trace)
    torch.testing.assert_close(value, 2.5 * trace.mean_rate)


def test_each_weight_belongs_to_its_part():
    complete = SequenceLatent(k=20_000)
    parts = decompose(complete.site(), complete.n)
    for index, name in enumerate(("alpha", "beta", "gamma")):
        weights = dict.fromkeys(("alpha", "beta", "gamma"), 0.0) | {name: 1.0}
        value = BetaTC(task_wiring(2, complete.n), **weights)(complete.trace())
        torch.testing.assert_close(value, parts[index], rtol=0, atol=0.03)


def test_independent_dimensions_share_nothing():
    """The four corners of a square: TC is 0, and I is log 4 where the posteriors do not
    overlap."""
    complete = SequenceLatent(4, k=500)
    complete.mean = torch.tensor([[-3.0, -3], [-3, 3], [3, -3], [3, 3]], dtype=torch.float64)
    complete.log_scale = torch.full((4, 2), math.log(0.2), dtype=torch.float64)
    complete.z = complete.mean + 0.2 * torch.randn(500, 4, 2, dtype=torch.float64)
    parts = decompose(complete.site(), 4)
    torch.testing.assert_close(
        parts.total_correlation, torch.zeros(4, dtype=torch.float64), atol=1e-5, rtol=0
    )
    torch.testing.assert_close(
        parts.index_code, torch.full((4,), math.log(4), dtype=torch.float64)
    )


def test_dimensions_that_repeat_one_another_share_everything():
    complete = SequenceLatent(4, k=500)
    line = torch.tensor([-9.0, -3, 3, 9], dtype=torch.float64)
    complete.mean, complete.log_scale = (
        line[:, None].expand(4, 2),
        torch.full((4, 2), math.log(0.2), dtype=torch.float64),
    )
    complete.z = complete.mean + 0.2 * torch.randn(500, 4, 2, dtype=torch.float64)
    value = decompose(complete.site(), 4).total_correlation
    torch.testing.assert_close(value, torch.full((4,), math.log(4), dtype=torch.float64))


def test_a_batch_of_one_is_left_with_the_rate():
    complete = SequenceLatent(1)
    parts = decompose(complete.site(), 100)
    assert parts.index_code.abs().max() < 1e-6 and parts.total_correlation.abs().max() < 1e-6
    torch.testing.assert_close(
        BetaTC(task_wiring(2, 100))(complete.trace()), complete.trace().mean_rate
    )


def test_any_prior_will_do():
    complete = SequenceLatent(k=4)
    site = complete.site()
    p = NormalMixture(
        torch.zeros(2).double(), torch.randn(2, 2).double(), torch.zeros(2, 2).double()
    )
    total = sum(decompose(vaezoo.Site("z", site.z, site.q, p), 50))
    torch.testing.assert_close(total, (site.q.log_prob(site.z) - p.log_prob(site.z)).mean(0))


def test_torchs_own_normals_give_the_same():
    complete = SequenceLatent(k=2)
    site = complete.site()
    q = Independent(Normal(complete.mean, complete.log_scale.exp()), 1)
    for one, other in zip(
        decompose(site, 9), decompose(vaezoo.Site("z", site.z, q, site.p), 9), strict=True
    ):
        torch.testing.assert_close(one, other)


def test_a_posterior_that_is_not_diagonal_is_refused():
    q = LowRankMultivariateNormal(torch.zeros(4, 2), torch.ones(4, 2, 1), torch.ones(4, 2))
    site = vaezoo.Site("z", q.rsample((1,)), q, UnitNormal(torch.zeros(2)))
    with pytest.raises(
        ValueError, match=r"needs a diagonal posterior \(diagonal-normal\); LowRank"
    ):
        decompose(site, 10)


def test_several_latent_variables_are_refused():
    trace = SequenceLatent().trace()
    with pytest.raises(ValueError, match="latents: single"):
        BetaTC(task_wiring(2, 10))(given_trace(trace.batch, *trace.sites * 2))
