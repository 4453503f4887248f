"""Metrics on a model whose log p(x), posterior and aggregate posterior are known."""

from __future__ import annotations

import inspect
import math

import pytest
import torch

from tests.conftest import LinearGaussian
from vaezoo.data.dataset import Split
from vaezoo.data.loader import Loader
from vaezoo.evaluation.bounds import ELBO, NLL, Distortion, Rate, mean_with_error
from vaezoo.evaluation.evaluate import evaluate, metric_rows
from vaezoo.evaluation.latent_space import ActiveUnits, AggregatePosteriorGap, MutualInformation
from vaezoo.evaluation.metric import Estimate, is_higher_better
from vaezoo.plugins import discovery
from vaezoo.spec.options import ComponentSpec

CPU = torch.device("cpu")


def served(x, batch_size=50):
    return Loader(Split(x), CPU, batch_size)


def measure(metric, model, x):
    """One metric's numbers, drawn from a seed."""
    torch.manual_seed(5)
    with model.eval().inference():
        return metric(model, served(x))


def component(cls, **options):
    """A metric as a spec names it."""
    return ComponentSpec(
        kind="metric",
        name=cls.__name__.lower(),
        plugin="test",
        cls=cls,
        options=options,
        mark=None,
        path="evaluate.0",
    )


def test_nll_is_minus_log_p_within_its_error(inexact):
    x = inexact.data(400)
    truth = -inexact.log_p(x).double()
    result = measure(NLL(samples=2000), inexact.model, x)["nll"]
    assert result.value == pytest.approx(float(truth.mean()), abs=0.02)
    assert result.error == pytest.approx(float(truth.std()) / 20, rel=0.05)
    assert result.examples == 400 and 1 < result.details["effective_sample_size"] < 2000


def test_nll_is_exact_with_the_exact_posterior(exact):
    x = exact.data(64)
    result = measure(NLL(samples=3), exact.model, x)["nll"]
    assert result.value == pytest.approx(float(-exact.log_p(x).mean()), abs=1e-4)
    assert result.details["effective_sample_size"] == pytest.approx(3, rel=1e-4)


def test_the_elbo_is_below_the_likelihood_by_the_error_of_the_posterior(inexact):
    x = inexact.data(400)
    q, p = inexact.model, inexact.log_p(x).mean()
    elbo = measure(ELBO(samples=500), q, x)["elbo"]
    nll = measure(NLL(samples=2000), q, x)["nll"]
    assert elbo.value < float(p) - 0.1 and elbo.value < -nll.value
    tight = measure(NLL(samples=20), q, x)["nll"]
    assert -elbo.value > tight.value > nll.value, "more samples are tighter"


def test_the_elbo_is_what_its_parts_say(inexact):
    x = inexact.data(100)
    elbo, rate, distortion = (
        measure(metric(samples=7), inexact.model, x) for metric in (ELBO, Rate, Distortion)
    )
    assert elbo["elbo"].value == pytest.approx(
        -rate["rate"].value - distortion["distortion"].value, rel=1e-9
    )
    with torch.no_grad():
        mean, scale = (
            inexact.model.latents.posterior(x).mean,
            inexact.model.latents.posterior(x).stddev,
        )
    closed = 0.5 * (mean.square() + scale.square() - 1 - 2 * scale.log()).sum(1)
    assert rate["rate"].value == pytest.approx(float(closed.mean()), rel=1e-5)
    assert rate["rate"].error == pytest.approx(float(closed.std()) / 10, rel=1e-5)


def test_more_posterior_samples_leave_the_elbo_and_shrink_its_noise(inexact):
    x = inexact.data(200)
    one, many = (measure(ELBO(samples=k), inexact.model, x)["elbo"] for k in (1, 400))
    assert one.value == pytest.approx(many.value, abs=3 * one.error)
    assert many.error < one.error


def test_a_standard_error_is_the_deviation_over_the_root_of_the_count():
    values = torch.tensor([1.0, 2.0, 4.0, 9.0])
    result = mean_with_error(values, samples=3)
    assert result.value == 4.0 and result.examples == 4 and result.details == {"samples": 3}
    assert result.error == pytest.approx(math.sqrt((9 + 4 + 0 + 25) / 3) / 2)
    assert mean_with_error(values[:1]).error is None


@pytest.mark.parametrize(
    "metric", [ELBO, Rate, Distortion, NLL, ActiveUnits, MutualInformation, AggregatePosteriorGap]
)
def test_one_example_has_figures_without_an_error(metric, exact):
    results = list(measure(metric(), exact.model, exact.data(1)).values())
    for result in results:
        assert math.isfinite(result.value) and result.error is None and result.examples == 1
    if metric in (ActiveUnits, MutualInformation, AggregatePosteriorGap):
        assert results[0].value == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("silent", [[], [0], [1], [0, 1]])
def test_active_units_are_the_dimensions_whose_mean_moves(silent, inexact):
    with torch.no_grad():
        inexact.model.latents.posterior.weight[silent] *= 1e-3
        inexact.model.latents.posterior.offset[silent] = 100.0  # far from 0, and constant
    result = measure(ActiveUnits(), inexact.model, inexact.data(300))["active_units"]
    assert result.value == 2 - len(silent)
    assert result.unit == "dimensions" and result.details["dimensions"] == 2
    assert (
        measure(ActiveUnits(threshold=50.0), inexact.model, inexact.data(300))[
            "active_units"
        ].value
        == 0
    )


def truths(linear):
    """I(x; z) and KL(q(z) || p(z)) of a linear-Gaussian model: q(z) is a normal, too."""
    posterior = linear.model.latents.posterior
    weight, offset = posterior.weight.detach(), posterior.offset.detach()
    noise = torch.diag((2 * posterior.log_scale.detach()).exp())
    mean = weight @ linear.marginal.loc + offset
    covariance = weight @ linear.marginal.covariance_matrix @ weight.T + noise
    log_determinant = torch.logdet(covariance)
    gap = 0.5 * (covariance.trace() + mean @ mean - len(mean) - log_determinant)
    return float(0.5 * (log_determinant - torch.logdet(noise))), float(gap)


def bounds_of(linear, n, **options):
    """The bounds of the mutual information and of the gap, and that each encloses the truth."""
    bounds, metrics = [], (MutualInformation, AggregatePosteriorGap)
    for metric, truth in zip(metrics, truths(linear), strict=True):
        lower, upper = measure(metric(**options), linear.model, linear.data(n)).values()
        assert lower.value - 4 * lower.error < truth + 1e-6
        assert upper.value + 4 * upper.error > truth - 1e-6
        assert lower.value >= 0 <= upper.value
        bounds += [lower, upper]
    return bounds


@pytest.mark.parametrize("spoil", [0.0, 0.25])
def test_mutual_information_and_gap_lie_within_their_bounds(spoil):
    """Close to the truth where log n is large in comparison; without a gap that is 0."""
    for bound, truth in zip(
        bounds_of(LinearGaussian(spoil=spoil), 2000),
        (truth for truth in truths(LinearGaussian(spoil=spoil)) for _ in range(2)),
        strict=True,
    ):
        assert bound.value == pytest.approx(truth, abs=4 * bound.error + 0.01)
        assert bound.error < 0.05 and "at most" not in bound.note


def test_too_few_examples_give_a_wide_interval_that_encloses_the_truth(exact):
    """Each example is told from every other: the lower bound is at its limit, and says so."""
    with torch.no_grad():
        exact.model.latents.posterior.log_scale.fill_(-12.0)
    lower, upper, no_gap, gap = bounds_of(exact, 60, examples=50)
    limit = pytest.approx(math.log(50), rel=1e-4)
    assert (lower.examples, lower.value, lower.details["largest_possible"]) == (50, limit, limit)
    assert "is at most 3.91 nats, so that this lower bound" in lower.note
    assert "is at most 3.91 nats, so that this upper bound" in gap.note
    rate = measure(Rate(), exact.model, exact.data(60)[:50])["rate"]
    assert upper.value == pytest.approx(rate.value) and upper.note == "the rate"
    assert no_gap.value == 0 < no_gap.error and gap.value > 3


def test_a_posterior_that_is_the_prior_tells_nothing(exact):
    with torch.no_grad():
        for parameter in exact.model.latents.posterior.parameters():
            parameter.zero_()
    assert truths(exact) == pytest.approx((0, 0), abs=1e-6)
    assert [bound.value for bound in bounds_of(exact, 50)] == pytest.approx([0] * 4, abs=1e-6)


def test_chance_does_not_take_bounds_beyond_each_other_or_the_rate():
    """With few examples and posteriors that are nearly alike it decides which one is larger."""
    linear = LinearGaussian(spoil=0.1)
    posterior = linear.model.latents.posterior
    with torch.no_grad():
        posterior.log_scale.zero_()
        for parameter in (posterior.weight, posterior.offset):
            parameter.mul_(0.05)
    crossed = 0
    for seed in range(20):
        x = linear.data(8, seed=seed)
        rate = measure(Rate(), linear.model, x)["rate"].value
        for metric in (MutualInformation(), AggregatePosteriorGap()):
            lower, upper = measure(metric, linear.model, x).values()
            assert 0 <= lower.value <= upper.value <= rate and lower.error > 0 < upper.error
            crossed += lower.value == upper.value
    assert crossed  # chance did have them cross


def test_the_errors_of_the_bounds_are_the_spread_of_repeated_estimates(inexact):
    """Although all examples share the mixtures."""
    values, errors = [], []
    for seed in range(25):
        x, estimates = inexact.data(100, seed=seed), []
        for metric in (MutualInformation(), AggregatePosteriorGap()):
            estimates += measure(metric, inexact.model, x).values()
        values.append([estimate.value for estimate in estimates])
        errors.append([estimate.error for estimate in estimates])
    ratio = torch.tensor(errors).mean(0) / torch.tensor(values).std(0)
    assert ((ratio > 0.6) & (ratio < 1.6)).all(), ratio


def test_pairs_are_compared_in_parts_without_changing_the_figures(inexact, monkeypatch):
    metrics, x = (MutualInformation(), AggregatePosteriorGap()), inexact.data(90)

    def figures():
        bounds = [measure(metric, inexact.model, x) for metric in metrics]
        return [[each.value, each.error] for bound in bounds for each in bound.values()]

    complete = figures()
    monkeypatch.setattr("vaezoo.evaluation.latent_space._PAIRS_PER_CHUNK", 2 * 90 * 7)
    assert figures() == [pytest.approx(figure, rel=1e-6) for figure in complete]


def test_one_seed_gives_the_same_figures_and_another_does_not(inexact):
    metrics = [
        component(ELBO, samples=1),
        component(NLL, samples=5),
        component(MutualInformation, examples=50),
    ]

    def figures(seed):
        torch.manual_seed(seed + 17)
        return evaluate(inexact.model, metrics, served(inexact.data(60)), "test", seed=seed)

    assert figures(3) == figures(3)
    result, other = figures(3)["metrics"], figures(4)["metrics"]
    assert all(result[name]["value"] != other[name]["value"] for name in result)


def test_a_figure_does_not_depend_on_its_neighbours_nor_on_the_size_of_batches(inexact):
    x = inexact.data(60)
    alone = evaluate(inexact.model, [component(NLL, samples=5)], served(x), "test", seed=0)[
        "metrics"
    ]["nll"]
    among = evaluate(
        inexact.model, [component(ELBO), component(NLL, samples=5)], served(x, 7), "test", seed=0
    )["metrics"]["nll"]
    assert alone == among


def test_metrics_leave_the_model_and_the_generator_as_they_were(inexact, same):
    before = {name: weight.clone() for name, weight in inexact.model.state_dict().items()}
    torch.manual_seed(2)
    state = torch.get_rng_state()
    evaluate(
        inexact.model,
        [component(ELBO), component(ActiveUnits)],
        served(inexact.data(20)),
        "test",
        seed=0,
    )
    assert torch.equal(torch.get_rng_state(), state)
    same(before, inexact.model.state_dict())


def test_figures_in_words_have_their_error_and_how_they_were_measured(inexact):
    metrics = [component(NLL, samples=5, limit=20), component(ActiveUnits)]
    result = evaluate(inexact.model, metrics, served(inexact.data(1200)), "test", seed=0)
    nll, units = metric_rows(result)
    row = result["metrics"]["nll"]
    assert nll[:3] == (
        "nll",
        f"{row['value']:.3f} ± {row['standard_error']:.3f}",
        "nats per example",
    )
    measured = (
        "stochastic upper bound of -log p(x); 20 examples, samples 5, effective sample size "
    )
    assert nll[3].startswith(measured)
    assert units == (
        "active units",
        "2.000",
        "dimensions",
        "1,200 examples, dimensions 2, threshold 0.01",
    )


def test_a_metric_that_fails_leaves_the_others_and_says_why(train, monkeypatch):
    def fail(self, model, data):
        raise RuntimeError("out of\nmemory")

    monkeypatch.setattr("vaezoo.evaluation.bounds.NLL.__call__", fail)
    result = train(train={"epochs": 1}, evaluate=["nll", "elbo"]).evaluation
    assert result["undefined"] == {"nll": "out of memory"} and "elbo" in result["metrics"]


def test_many_samples_take_few_examples_at_a_time(exact):
    model, complete = exact.model, exact.model.batch_size()
    for samples in (10, 1000, 10**9):
        assert model.batch_size(samples) == max(
            1, min(1000, 2**20 // (model.decoder_outputs * samples))
        )
    assert model.batch_size(10**9) == 1 <= model.importance_batch_size <= complete


def test_a_cross_entropy_of_grey_values_is_called_so(train):
    for likelihood, noted in (("bernoulli", True), ("continuous-bernoulli", False)):
        metrics = ["elbo", "distortion", "rate", {"type": "nll", "samples": 2, "limit": 5}]
        run = train(model={"likelihood": likelihood}, evaluate=metrics, train={"epochs": 1})
        rows = run.evaluation["metrics"]
        says = {name for name, row in rows.items() if "cross-entropy" in row.get("note", "")}
        assert says == ({"elbo", "distortion", "nll"} if noted else set())


def test_the_names_of_numbers_with_a_direction_are_those_that_are_measured():
    catalogue = discovery.catalogue()
    for name in catalogue.names("metric"):
        cls = catalogue.find("metric", name).load()
        assert not cls.higher_is_better & cls.lower_is_better
        source = inspect.getsource(inspect.getmodule(cls))
        for number in cls.higher_is_better | cls.lower_is_better:
            count = source.count(f'"{number}"')
            if number.startswith("*"):  # an option decides what comes before
                count = source.count(f'{number[1:]}"') + source.count(f'"{number[2:]}"') + 1
            assert count > 1, f"{name}: {number} is only declared"


@pytest.mark.parametrize(
    ("name", "better"),
    [("up", True), ("up-2", True), ("a_down", False), ("a_down-3", False), ("downwards", None)],
)
def test_a_number_is_better_as_its_metric_says(name, better):
    class Measured(Rate):
        higher_is_better = frozenset({"up"})
        lower_is_better = frozenset({"*_down"})

    assert is_higher_better(name, [Rate, Measured]) is better


def test_every_bound_says_which_it_is_and_of_what(inexact, monkeypatch):
    x = inexact.data(40)
    found = {
        name: estimate.bound
        for metric in (
            ELBO(),
            NLL(samples=3),
            Rate(),
            MutualInformation(),
            AggregatePosteriorGap(),
        )
        for name, estimate in measure(metric, inexact.model, x).items()
    }
    assert found == {
        "elbo": "lower bound of log p(x)",
        "nll": "stochastic upper bound of -log p(x)",
        "rate": "",
        "mutual_information_lower": "lower bound of I(x; z)",
        "mutual_information_upper": "upper bound of I(x; z)",
        "aggregate_posterior_gap_lower": "lower bound of KL(q(z) || p(z))",
        "aggregate_posterior_gap_upper": "upper bound of KL(q(z) || p(z))",
    }
    monkeypatch.setitem(inexact.model.densities, "prior", "bound")
    assert measure(Rate(), inexact.model, x)["rate"].bound == "upper bound of the rate"


def test_a_bound_is_recorded_and_stands_first_in_tables(inexact):
    x = inexact.data(40)
    result = evaluate(inexact.model, [component(ELBO), component(Rate)], served(x), "test", seed=0)
    assert result["metrics"]["elbo"]["bound"] == "lower bound of log p(x)"
    assert "bound" not in result["metrics"]["rate"] and "series" not in result["metrics"]["rate"]
    elbo, rate = metric_rows(result)
    assert elbo[3] == "lower bound of log p(x); 40 examples, samples 1"
    assert rate[3] == "40 examples, samples 1"
    del result["metrics"]["elbo"]["bound"]  # as earlier versions wrote it
    assert metric_rows(result)[0][3] == "40 examples, samples 1"


def test_a_bound_of_no_kind_is_refused():
    with pytest.raises(ValueError, match=r"a bound is one of .*; not 'bound of log p\(x\)'"):
        Estimate(0.0, None, 1, bound="bound of log p(x)")
