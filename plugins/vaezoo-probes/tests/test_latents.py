"""Rates of dimensions and total correlation, on posteriors with closed forms; and whole runs."""

from __future__ import annotations

import json
import math

import pytest
import torch
from torch.distributions import Independent, Normal, StudentT
from vaezoo_probes.rates import KLPerDimension, rates_of_site
from vaezoo_probes.total_correlation import TotalCorrelation, note_of_floor, total_correlation

import vaezoo
from vaezoo.distributions import DiagonalNormal, UnitNormal

SPEC = {
    "spec": "vaezoo/v2",
    "name": "probed",
    "data": {"type": "digits", "batch_size": 64},
    "model": {
        "latent_dim": 4,
        "encoder": {"type": "mlp", "hidden": [32]},
        "decoder": {"type": "mlp", "hidden": [32]},
        "likelihood": "bernoulli",
    },
    "train": {"steps": 60, "device": "cpu"},
}


def site(mean, scale, p=None):
    q = DiagonalNormal(mean, torch.full_like(mean, math.log(scale)))
    return vaezoo.Site("z", q.rsample((1,)), q, p or UnitNormal(torch.zeros(mean.shape[1])))


def test_rates_add_up_to_the_rate_of_the_posterior():
    of = site(torch.randn(50, 3), 0.4)
    torch.testing.assert_close(rates_of_site(of).sum(1), of.kl[0])
    mean = torch.tensor([[1.0, 0.0]])
    expected = torch.tensor([[0.5, 0.0]])
    torch.testing.assert_close(rates_of_site(site(mean, 1.0)), expected)


def test_rates_without_a_closed_form_are_those_of_samples():
    p = Independent(StudentT(3.0, torch.zeros(3)), 1)
    of = site(torch.randn(50, 3), 0.4, p)
    torch.testing.assert_close(rates_of_site(of).sum(1), of.log_ratio[0])


def test_steps_that_are_hidden_have_no_rate():
    q = DiagonalNormal(torch.ones(2, 3, 1), torch.zeros(2, 3, 1))  # [B, T, D]
    mask = torch.tensor([[True, True, False], [True, False, False]])
    of = vaezoo.Site("z", q.rsample((1,)), q, UnitNormal(torch.zeros(1)), mask=mask)
    assert rates_of_site(of).tolist() == [[1.0], [0.5]]


def test_dependent_dimensions_have_no_rates():
    mixture = vaezoo.distributions.NormalMixture(
        torch.zeros(2), torch.zeros(2, 3), torch.zeros(2, 3)
    )
    with pytest.raises(NotImplementedError, match="the prior of 'z' has no independent dimens"):
        rates_of_site(site(torch.zeros(4, 3), 1.0, mixture))


def test_total_correlation_is_that_of_a_correlated_normal():
    """Means of N(0, [[1, 0.8], [0.8, 1]]) and posteriors of scale 0.5: a correlation of 0.64."""
    torch.manual_seed(0)
    first, noise = torch.randn(2, 3000)
    mean = torch.stack([first, 0.8 * first + 0.6 * noise], 1)
    q = Normal(mean, 0.5)
    z, order = q.sample(), torch.stack([torch.randperm(3000) for _ in range(2)], 1)
    expected = -0.5 * math.log(1 - (0.8 / 1.25) ** 2)
    values = total_correlation(q, z)
    assert float(values.mean()) == pytest.approx(expected, abs=0.04)
    floor = total_correlation(q, z, order)
    assert abs(float(floor.mean())) < 0.03
    assert note_of_floor(values, floor) == ""


def test_total_correlation_is_the_mean_over_the_mixture():
    """By numerical integration of the densities of three posteriors."""
    mean = torch.tensor([[-1.0, 0.5], [0.0, -1.0], [1.5, 1.0]])
    q = Normal(mean, 0.6)
    grid = torch.linspace(-5, 5.5, 400, dtype=torch.float64)
    z = torch.cartesian_prod(grid, grid)
    each = Normal(mean.double(), 0.6).log_prob(z[:, None]).exp()  # [G, 3, 2]
    joint, product = each.prod(-1).mean(1), each.mean(1).prod(-1)
    exact = (joint * (joint / product).log()).sum() * float(grid[1] - grid[0]) ** 2
    torch.manual_seed(0)
    draws = torch.stack([total_correlation(q, q.sample()) for _ in range(4000)]).mean(1)
    error = float(draws.std() / len(draws) ** 0.5)
    assert float(draws.mean()) == pytest.approx(float(exact), abs=4 * error)


def test_a_floor_breaks_the_dependence_of_the_dimensions_only():
    """Narrow posteriors of few examples look dependent even where they are not."""
    torch.manual_seed(0)
    q = Normal(torch.randn(40, 6), 0.05)
    z, order = q.sample(), torch.stack([torch.randperm(40) for _ in range(6)], 1)
    value, floor = (float(total_correlation(q, z, each).mean()) for each in (None, order))
    assert floor > 5 and value == pytest.approx(floor, rel=0.1)
    fewer = [total_correlation(q, z, each) for each in (None, order)]
    assert note_of_floor(*fewer).endswith("with 40 examples, so that these are too few")
    same = torch.arange(40)[:, None].expand(40, 6)
    torch.testing.assert_close(total_correlation(q, z, same), total_correlation(q, z))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    probes = ["linear-probe", "clustering", "kl-per-dimension", "total-correlation", "rate"]
    few = {"type": "knn-probe", "labels_per_class": 10, "draws": 2}
    spec = {**SPEC, "evaluate": [few, *probes]}
    return vaezoo.run(spec, out=tmp_path_factory.mktemp("runs"))


def test_a_run_measures_them_all(run):
    evaluation = json.loads((run.path / "evaluation.json").read_text())
    assert not evaluation["undefined"] and not evaluation["not_finite"]
    metrics = evaluation["metrics"]
    for name in ("knn_probe", "linear_probe"):
        assert metrics[name]["floor"] < 0.2 < metrics[name]["value"] <= 1
        assert metrics[name]["on_inputs"] > 0.7
    assert 0.05 < metrics["clustering_ari"]["value"] < metrics["clustering_ari"]["highest"] + 1e-9
    rates = metrics["rate_per_dimension"]["series"]["values"]
    assert len(rates) == 4
    assert sum(rates) == pytest.approx(metrics["rate"]["value"], rel=1e-4)
    active = sum(rate > 0.1 for rate in rates)
    assert metrics["active_by_rate"]["value"] == active
    assert metrics["total_correlation"]["value"] > 0
    assert (run.path / "pictures" / "metrics.png").is_file()


def test_a_model_without_one_latent_vector_is_refused(run, monkeypatch):
    loader = run.data("test")
    infer = type(run.model).infer

    def doubled(self, inference):
        trace = infer(self, inference)
        return type(trace)(*[getattr(trace, n) for n in ("model", "batch")], trace.sites * 2, 0, 0)

    monkeypatch.setattr(type(run.model), "infer", doubled)
    with torch.inference_mode(), pytest.raises(NotImplementedError, match="one latent vector"):
        TotalCorrelation()(run.model, loader)


def test_a_model_without_latents_has_no_rates(run, monkeypatch):
    monkeypatch.setattr(run.model.latents, "spaces", ())
    with pytest.raises(NotImplementedError, match="no latent variable"):
        KLPerDimension()(run.model, run.data("test"))
