"""What does not fit together is refused at its line before training starts."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.distributions import Normal

from vaezoo.components.latents import Single
from vaezoo.components.posteriors import DiagonalNormalPosterior
from vaezoo.components.priors import StandardNormal
from vaezoo.components.regularizers import KL
from vaezoo.distributions import DiagonalNormal, Implicit, UnitNormal
from vaezoo.model.wiring import Space
from vaezoo.runs.setup import prepare_training
from vaezoo.spec.dump import dump
from vaezoo.spec.load import load_spec
from vaezoo.spec.options import options_model
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
            "DiagonalNormal has batch shape (7,), which does not broadcast to (2,)",
        ),
        (torch.zeros(2), "expected a torch Distribution, got Tensor"),
    ],
)
def test_a_prior_that_is_no_distribution_over_z_is_named(
    distribution, message, refused, monkeypatch
):
    monkeypatch.setattr(StandardNormal, "forward", returns(distribution))
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


@pytest.mark.parametrize(
    ("spaces", "message"),
    [
        ((Space((2,), name="other"),), "declare the variables other, but infer z"),
        (None, "must set self.spaces to a tuple of vaezoo.Space"),
        (Space((2,)), "must set self.spaces to a tuple of vaezoo.Space"),
        ((Space((2,)), Space((2,))), "two variables of one name: z, z"),
    ],
)
def test_declared_and_inferred_variables_must_agree(spaces, message, refused, monkeypatch):
    original = Single.__init__

    def init(self, wiring, /, *, maps: bool = False):
        original(self, wiring, maps=maps)
        self.spaces = spaces

    monkeypatch.setattr(Single, "__init__", init)
    text = refused()
    assert "model.latents: latents 'single'" in text and message in text


def single_infers(change, monkeypatch):
    original = Single.infer
    monkeypatch.setattr(
        Single, "infer", lambda self, inference: change(*original(self, inference))
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda sites, code: (sites[0], code), "infer must return a tuple of sites, and the code"),
        (
            lambda sites, code: ((replace(sites[0], z=sites[0].z[0]),), code),
            "samples z of 'z' have shape (2, 2), expected (1, 2, 2)",
        ),
    ],
)
def test_what_infer_returns_is_checked(change, message, refused, monkeypatch):
    single_infers(change, monkeypatch)
    text = refused()
    assert "model.latents: latents 'single'" in text and message in text


def test_a_posterior_of_another_shape_is_named(refused, monkeypatch):
    wide = DiagonalNormal(torch.zeros(2, 5), torch.zeros(2, 5))
    monkeypatch.setattr(DiagonalNormalPosterior, "forward", returns(wide))
    text = refused()
    assert "model.posterior: posterior of latent variable 'z': DiagonalNormal has event" in text


def test_a_missing_eager_is_found_when_composing(refused, spec, monkeypatch):
    def differentiate(sites, code):
        with torch.enable_grad():
            code = code.detach().requires_grad_()
            (slope,) = torch.autograd.grad(code.square().sum(), code)
        return sites, code - 0.1 * slope

    single_infers(differentiate, monkeypatch)
    assert "model.latents: latents 'single': " in refused()
    monkeypatch.setattr(Single, "eager", True)
    prepare_training(load_spec(spec()), CPU)


def test_a_regularizer_without_its_weight_is_named(refused, monkeypatch):
    def init(self, wiring, /, *, weight: float = 1.0):
        torch.nn.Module.__init__(self)

    monkeypatch.setattr(KL, "__init__", init)
    options_model.cache_clear()
    try:
        assert "regularizers: regularizer 'kl' must call super().__init__(weight)" in refused()
    finally:
        options_model.cache_clear()


def test_supports_are_a_set(refused, monkeypatch):
    monkeypatch.setattr(StandardNormal, "supports", "real")
    assert "supports is a set: write frozenset({'real'})" in refused()


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
            "regularizers: regularizer 'kl' is not defined here: the prior of latent variable 'z' "
            "has no density, so no rate; list regularizers without it, or write regularizers: []",
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
