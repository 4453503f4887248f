"""The contracts of ``check_spec`` for combinations of built-in components, and their
violations."""

from __future__ import annotations

import itertools

import pytest
import torch

from vaezoo.components.objectives import IWAE
from vaezoo.components.posteriors import DiagonalNormalPosterior
from vaezoo.components.priors import StandardNormal
from vaezoo.distributions import DiagonalNormal, UnitNormal
from vaezoo.model.model import Model
from vaezoo.testing import check_spec, spec_contracts
from vaezoo.utils.errors import SpecError

ENCODERS = ["mlp", {"type": "conv", "norm": "batch"}, {"type": "patch", "patch": 2}]
DECODERS = ["mlp", {"type": "conv", "block": "residual"}, {"type": "patch", "patch": 4}]
LIKELIHOODS = [
    "bernoulli",
    "continuous-bernoulli",
    "categorical",
    "discretized-logistic",
    "laplace",
]
LIKELIHOODS += [{"type": "normal", "scale": scale} for scale in (0.5, "learned", "optimal")]


def spec(**model):
    parts = {
        "latent_dim": 3,
        "encoder": "mlp",
        "decoder": "mlp",
        "likelihood": "bernoulli",
        **model,
    }
    return {
        "spec": "vaezoo/v1",
        "name": "contract",
        "data": {"type": "digits", "batch_size": 32},
        "model": parts,
        "train": {"epochs": 1, "optimizer": {"type": "sgd", "lr": 1e-4}},
    }


@pytest.mark.parametrize(
    ("encoder", "decoder"), list(itertools.product(ENCODERS, DECODERS)), ids=str
)
def test_every_encoder_goes_with_every_decoder(encoder, decoder):
    check_spec(spec(encoder=encoder, decoder=decoder))


@pytest.mark.parametrize("likelihood", LIKELIHOODS, ids=str)
@pytest.mark.parametrize(
    "prior", ["standard-normal", {"type": "mixture", "components": 4}], ids=str
)
def test_every_likelihood_goes_with_every_prior(likelihood, prior):
    check_spec(spec(likelihood=likelihood, prior=prior))


@pytest.mark.parametrize("gradient", ["standard", "dreg", "stl"])
@pytest.mark.parametrize("prior", ["standard-normal", "mixture"])
def test_every_gradient_of_iwae_goes_with_every_prior(gradient, prior):
    check_spec(
        {**spec(prior=prior), "objective": {"type": "iwae", "samples": 4, "gradient": gradient}}
    )


def test_dreg_refuses_a_regularizer_whose_gradient_it_would_rescale(monkeypatch):
    from vaezoo.components.regularizers import KL

    monkeypatch.setattr(KL, "penalizes_rate", False)
    iwae = {"type": "iwae", "samples": 4, "gradient": "dreg"}
    with pytest.raises(SpecError, match="objective: 'iwae' rescales the gradients of latents"):
        check_spec({**spec(), "objective": iwae, "regularizers": ["kl"]})


def test_a_loss_that_mixes_up_samples_and_batch_is_caught(monkeypatch):
    monkeypatch.setattr(IWAE, "forward", lambda self, trace: trace.log_weight.mean(1))
    with pytest.raises(AssertionError, match="expected one for each example"):
        check_spec({**spec(), "objective": {"type": "iwae", "samples": 4}})


def test_a_weight_without_gradient_is_caught(monkeypatch):
    original = DiagonalNormalPosterior.__init__

    def init(self, wiring, **options):
        original(self, wiring, **options)
        self.idle = torch.nn.Linear(1, 1)

    monkeypatch.setattr(DiagonalNormalPosterior, "__init__", init)
    with pytest.raises(
        AssertionError, match=r"no gradient for model\.latents\.posterior\.idle\.weight"
    ):
        check_spec(spec())


def test_an_observation_that_leaves_statistics_behind_is_caught(monkeypatch):
    monkeypatch.setattr(Model, "infer_detached", torch.no_grad()(lambda self, batch: self(batch)))
    with pytest.raises(AssertionError, match=r"infer_detached changed .*running_mean"):
        check_spec(spec(encoder={"type": "conv", "norm": "batch"}))


def test_samples_outside_their_support_are_caught(monkeypatch):
    monkeypatch.setattr(DiagonalNormalPosterior, "support", "sphere")
    monkeypatch.setattr(StandardNormal, "supports", frozenset({"sphere"}))
    with pytest.raises(AssertionError, match="samples of 'z' lie outside its support 'sphere'"):
        check_spec(spec())


class IgnoresSampleShape(UnitNormal):
    def sample(self, sample_shape=()):
        return super().sample()


class SumsOverTheBatch(UnitNormal):
    def log_prob(self, value):
        return super().log_prob(value).sum(-1)


class LosesABatchAtATemperature(DiagonalNormal):
    def tempered(self, temperature):
        return DiagonalNormal(self.loc[0], self.log_scale[0])


@pytest.mark.parametrize(
    ("cls", "message"),
    [
        (IgnoresSampleShape, r"latents 'single': expected codes \(2, ...\), got \(3,\)"),
        (SumsOverTheBatch, r"the prior of 'z': log_prob is \(3,\), expected \(3, 32\)"),
    ],
)
def test_a_prior_that_breaks_the_promises_of_distributions_is_caught(cls, message, monkeypatch):
    monkeypatch.setattr(
        StandardNormal, "forward", lambda self, context, model: cls(torch.zeros(3))
    )
    monkeypatch.setattr(spec_contracts, "_check_shapes", lambda task, batch: None)
    with pytest.raises((AssertionError, SpecError), match=message):
        check_spec(spec())


def test_a_temperature_that_loses_the_batch_is_caught(monkeypatch):
    original = DiagonalNormalPosterior.forward

    def forward(self, h):
        q = original(self, h)
        return LosesABatchAtATemperature(q.loc, q.log_scale)

    monkeypatch.setattr(DiagonalNormalPosterior, "forward", forward)
    with pytest.raises(AssertionError, match="the posterior of 'z': at a temperature it is"):
        check_spec(spec())
