"""Annealed importance sampling against models whose log p(x) is known."""

from __future__ import annotations

import pytest
import torch

from tests.conftest import standard_error
from vaezoo.data.batch import Batch
from vaezoo.data.dataset import Split
from vaezoo.data.loader import Loader
from vaezoo.distributions import Implicit
from vaezoo.evaluation.annealing import AIS, annealed_importance_sampling, temperatures
from vaezoo.evaluation.hamiltonian import Point, adapt_steps, transition
from vaezoo.model.estimators import importance_sampling
from vaezoo.model.wiring import Space
from vaezoo.runs.setup import prepare_training
from vaezoo.spec.load import load_spec

CPU = torch.device("cpu")


def annealed(gaussian, x, **options):
    options = {"count": 12, "chains": 300, "leaps": 3, **options}
    return annealed_importance_sampling(gaussian.model.eval(), Batch(x), **options)


@pytest.mark.parametrize("start", ["prior", "posterior"])
def test_weights_are_unbiased_estimates_of_p(inexact, start):
    """Fails if a proposal is accepted regardless, a temperature is left out, or a momentum is not
    drawn anew."""
    x = inexact.data(40)
    result = annealed(inexact, x, start=start)
    ratio = (result.log_weights - inexact.log_p(x)).exp().mean(0)  # [B], independent of each other
    assert standard_error(ratio) < 0.02
    assert abs(float(ratio.mean()) - 1) < 4 * standard_error(ratio)


def test_many_temperatures_give_log_p_of_each_example(exact):
    x = exact.data(12)
    result = annealed(exact, x, count=100, chains=50)
    torch.testing.assert_close(result.log_p.float(), exact.log_p(x), atol=0.25, rtol=0)
    assert bool((result.effective_sample_size > 25).all())


def test_it_needs_no_posterior_that_is_good(inexact):
    """Importance sampling with a posterior that is far off is below it, as both are bounds."""
    inexact.model.latents.posterior.offset.data += 3.0
    x = inexact.data(30)
    truth = inexact.log_p(x)
    result = annealed(inexact, x, count=60, chains=10)
    sampled, _ = importance_sampling(inexact.model, Batch(x), 10)
    gap = result.log_p - sampled
    assert float(gap.mean()) > 4 * standard_error(gap)
    assert abs(float((result.log_p - truth).mean())) < 0.1


def test_a_small_vae_is_bounded_tighter_than_by_as_many_importance_samples(spec):
    _, train, (task,) = prepare_training(load_spec(spec()), CPU)
    torch.manual_seed(1)
    model = task.model.eval()
    for parameter in model.decoder.parameters():
        torch.nn.init.normal_(parameter, std=0.6)  # a decoder with something to infer
    batch = train.first(30)
    tight, _ = importance_sampling(model, batch, 20_000)
    loose, _ = importance_sampling(model, batch, 4)
    result = annealed_importance_sampling(model, batch, count=100, chains=4, leaps=4)
    gap = (result.log_p - loose).double()
    assert float(gap.mean()) > 3 * standard_error(gap), "at least the importance-weighted bound"
    above = (result.log_p - tight).double()
    assert float(above.mean()) < 3 * standard_error(above) + 0.1, "and not above log p(x)"


def test_a_transition_keeps_its_density():
    """N(0, I) at the start and N(1, 1/3) in the middle of a path to N(1.5, ...)."""

    def densities(z):
        return -0.5 * z.square().sum(-1), -2 * (z - 1.5).square().sum(-1)

    point = Point.at(1 + torch.randn(500, 20, 2) / 3**0.5, densities)
    for _ in range(5):
        point, accepted = transition(point, 0.5, densities, torch.full((20,), 0.5), 4)
    assert 0.5 < float(accepted.float().mean()) < 0.99
    assert float(point.z.mean()) == pytest.approx(1, abs=0.02)
    assert float(point.z.var()) == pytest.approx(1 / 3, abs=0.02)


def test_steps_shrink_where_the_density_is_narrow():
    def densities(z):
        return -0.5 * z.square().sum(-1), -500 * z.square().sum(-1)

    places = [0.0, *[0.1 * i for i in range(1, 11)]]
    point = Point.at(torch.randn(50, 3, 2), densities)
    steps = adapt_steps(point, places, densities, 5, 40)
    assert bool((steps[-1] < 0.3 * steps[0]).all()) and bool((steps[0] > 0.2).all())


def test_a_path_has_its_ends_and_is_denser_there():
    betas = temperatures(50)
    assert betas[0] == 0 and betas[-1] == 1 and len(betas) == 51
    assert betas == sorted(betas)
    assert betas[1] - betas[0] < 0.5 * (betas[26] - betas[25])


def test_the_metric_is_a_bound_on_the_first_examples(exact):
    x = exact.data(50)
    loader = Loader(Split(x), CPU, 16)
    with exact.model.eval().inference():
        metric = AIS(examples=30, temperatures=80, chains=3)
        found = metric(exact.model, loader)["ais"]
    assert found.value == pytest.approx(float(exact.log_p(x[:30]).mean()), abs=0.25)
    assert found.bound == "stochastic lower bound of log p(x)" and found.examples == 30
    assert 0.4 < found.details["acceptance"] < 1
    assert 1 < found.details["effective_sample_size"] <= 3
    assert all(parameter.grad is None for parameter in exact.model.parameters())


@pytest.mark.parametrize(
    ("spaces", "message"),
    [
        ((Space((2,), support="sphere"),), "'z' is of support 'sphere'"),
        ((Space((2,), support="symbols"),), "'z' is of support 'symbols'"),
        ((Space((2,)), Space((2,), name="y")), "needs one latent variable; the model has 2"),
    ],
)
def test_what_has_no_gradients_in_a_real_space_is_refused(exact, spaces, message):
    exact.model.latents.spaces = spaces
    with pytest.raises(NotImplementedError, match=message):
        annealed(exact, exact.data(2))


def test_a_prior_without_a_density_is_refused(exact, monkeypatch):
    prior = exact.model.latents.prior
    monkeypatch.setattr(type(prior), "forward", lambda self, c, m: Implicit(torch.zeros(2, 2)))
    with pytest.raises(NotImplementedError, match="density of the prior of 'z' is not known"):
        annealed(exact, exact.data(2))


def test_a_posterior_without_a_density_is_needed_only_to_start_from_it(exact, monkeypatch):
    posterior = exact.model.latents.posterior
    monkeypatch.setattr(type(posterior), "forward", lambda self, h: Implicit(h @ self.weight.T))
    x = exact.data(10)
    found = annealed(exact, x, count=60, chains=20)
    assert float(found.log_p.mean()) == pytest.approx(float(exact.log_p(x).mean()), abs=0.2)
    with pytest.raises(NotImplementedError, match="use start: prior"):
        annealed(exact, x, start="posterior")
