"""What does not fit together is refused at its line before training starts."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Normal

from vaezoo.components.latents import Single
from vaezoo.components.posteriors import DiagonalNormalPosterior
from vaezoo.components.priors import StandardNormal
from vaezoo.distributions import DiagonalNormal, Implicit, UnitNormal
from vaezoo.model.wiring import Space
from vaezoo.runs.setup import prepare_training
from vaezoo.spec.dump import dump
from vaezoo.spec.load import load_spec
from vaezoo.utils.errors import SpecError

CPU = torch.device("cpu")


@pytest.fixture
def refused(spec, tmp_path):
    """Composes a changed spec from a file, and returns the text of its error."""

    def compose(**blocks):
        path = tmp_path / "spec.yaml"
        parts = {"prior": "standard-normal", "posterior": "diagonal-normal", "latents": "single"}
        blocks["model"] = parts | blocks.get("model", {})
        path.write_text(dump(spec(**blocks)))
        with pytest.raises(SpecError) as error:
            prepare_training(load_spec(path), CPU)
        return str(error.value)

    return compose


def returns(distribution):
    return lambda self, *inputs: distribution


@pytest.mark.parametrize(
    ("distribution", "message"),
    [
        (Normal(torch.zeros(2), 1.0), "Normal has event shape (), but the variable has (2,)"),
        (UnitNormal(torch.zeros(3)), "UnitNormal has event shape (3,), but the variable has (2,)"),
        (
            DiagonalNormal(torch.zeros(7, 2), torch.zeros(7, 2)),
            "DiagonalNormal has batch shape (7,), which does not broadcast to (1, 2)",
        ),
        (torch.zeros(2), "expected a torch Distribution, got Tensor"),
    ],
)
def test_a_prior_that_is_no_distribution_over_z_is_named(
    distribution, message, refused, monkeypatch
):
    monkeypatch.setattr(StandardNormal, "forward", returns(distribution))
    monkeypatch.setattr(Single, "generate", lambda self, generation: torch.zeros(2, 2))
    text = refused()
    assert "model.prior: prior of latent variable 'z'" in text and message in text


def test_an_unknown_density_is_named(refused, monkeypatch):
    p = UnitNormal(torch.zeros(2))
    p.density = "lower"
    monkeypatch.setattr(StandardNormal, "forward", returns(p))
    assert "UnitNormal has density 'lower'; it is one of none, bound, exact" in refused()


def test_an_error_in_a_prior_is_at_its_line(refused, monkeypatch):
    def fail(self, context, model):
        raise ValueError("no pseudo-inputs")

    monkeypatch.setattr(StandardNormal, "forward", fail)
    text = refused()
    assert "model.prior: prior 'standard-normal': no pseudo-inputs" in text


def test_declared_and_inferred_variables_must_agree(refused, monkeypatch):
    original = Single.__init__

    def init(self, wiring, /, **options):
        original(self, wiring, **options)
        self.spaces = (Space((3,), name="other"),)

    monkeypatch.setattr(Single, "__init__", init)
    text = refused()
    assert "model.latents" in text
    assert "declare the variables other (3,), but infer z (2,)" in text


def test_a_support_that_nobody_names_is_refused(refused, monkeypatch):
    monkeypatch.setattr(DiagonalNormalPosterior, "support", "reel")
    text = refused()
    assert "model.posterior" in text and "unknown support 'reel'; known: real, sphere" in text


def test_the_support_of_a_plugin_has_its_name(refused, monkeypatch):
    monkeypatch.setattr(DiagonalNormalPosterior, "support", "hyperbolic:ball")
    assert "has the support 'hyperbolic:ball'; set model.prior" in refused()


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        (
            {},
            "regularizers: regularizer 'kl' is not defined here: the prior of latent variable 'z'",
        ),
        ({"objective": "iwae"}, "objective: objective 'iwae' is not defined here: the prior of"),
        (
            {"regularizers": [], "train": {"select": "bound"}},
            "train.select: 'bound' is not defined for a posterior or prior without density",
        ),
        (
            {"regularizers": [], "train": {"select": "elbo"}},
            "train.select: 'elbo' is not defined for a posterior or prior without density",
        ),
    ],
)
def test_what_needs_a_density_is_refused_for_a_prior_without_one(
    blocks, message, refused, monkeypatch
):
    monkeypatch.setattr(StandardNormal, "forward", returns(Implicit(torch.zeros(2))))
    assert message in refused(**blocks)


def test_a_prior_without_density_trains_by_the_distortion_alone(train, monkeypatch):
    monkeypatch.setattr(StandardNormal, "forward", returns(Implicit(torch.zeros(2))))
    run = train(regularizers=[], train={"epochs": 1, "select": "distortion"})
    assert "elbo" in run.evaluation["undefined"]
    assert "rate" not in run.records[0] and run.model.sample(3).shape == (3, 1, 8, 8)
