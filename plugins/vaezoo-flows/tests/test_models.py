"""Flows, the VampPrior and fitted priors within models, composed from specs."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import pytest
import torch
from torch.distributions import Normal
from vaezoo_flows.vamp import VampPrior

import vaezoo
from vaezoo.runs.setup import prepare_training
from vaezoo.spec.load import load_spec
from vaezoo.testing import check_spec

EXAMPLES = Path(__file__).parents[1] / "examples"
SMALL = {"hidden": [16]}
POSTERIORS = {
    "planar": {"type": "planar", "transforms": 3},
    "inverse-autoregressive": {"type": "inverse-autoregressive", **SMALL, "context": 8},
    "neural-spline": {"type": "neural-spline", **SMALL, "context": 8, "bins": 4},
}
PRIORS = {
    "real-nvp": {"type": "real-nvp", **SMALL},
    "masked-autoregressive": {"type": "masked-autoregressive", **SMALL},
    "neural-spline": {"type": "neural-spline", **SMALL, "bins": 4},
    "vamp": {"type": "vamp", "components": 40},
    "vamp of data": {"type": "vamp", "components": 40, "inputs": "data"},
    "second-stage": {"type": "second-stage", "hidden": [16]},
}


def spec(name="flows", train=None, **model):
    return {
        "spec": "vaezoo/v2",
        "name": name,
        "data": {"type": "digits", "binarize": "dynamic", "batch_size": 32},
        "model": {
            "latent_dim": 3,
            "encoder": {"type": "mlp", "hidden": [32]},
            "decoder": {"type": "mlp", "hidden": [32]},
            "likelihood": "bernoulli",
            **model,
        },
        "train": {"steps": 20, "device": "cpu", **(train or {})},
        "evaluate": ["elbo"],
    }


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """Trains a spec without a report."""
    monkeypatch.setattr("vaezoo.runs.report.page.write_report", lambda run: None)
    return lambda blocks: vaezoo.run(blocks, out=tmp_path / "runs")


@pytest.mark.parametrize("posterior", POSTERIORS.values(), ids=POSTERIORS)
def test_posteriors_keep_the_contracts_with_each_other_prior(posterior):
    check_spec(spec(posterior=posterior, prior=PRIORS["real-nvp"]))


@pytest.mark.parametrize("prior", PRIORS.values(), ids=PRIORS)
def test_priors_keep_the_contracts(prior):
    check_spec(spec(prior=prior))


def test_priors_and_posteriors_take_conditions():
    for prior in ("real-nvp", "masked-autoregressive", "neural-spline"):
        condition = {"type": "label", "into": ["prior", "encoder", "decoder"]}
        check_spec(spec(posterior="planar", prior=PRIORS[prior], condition=condition))


def test_the_vamp_prior_of_a_flow_posterior_has_its_density():
    check_spec(spec(posterior=POSTERIORS["neural-spline"], prior=PRIORS["vamp"]))


@pytest.mark.parametrize("inputs", ["learned", "data"])
def test_pseudo_inputs_start_at_training_examples(trained, inputs):
    prior = {"type": "vamp", "components": 50, "inputs": inputs, "noise": 1e-6}
    run = trained(spec(prior=prior, train={"steps": 1, "optimizer": {"type": "sgd", "lr": 1e-9}}))
    part = run.model.latents.prior
    u = part.inputs.detach()
    assert u.shape == (50, 1, 8, 8) and bool(((u >= 0) & (u <= 1)).all())
    assert len(u.round().flatten(1).unique(dim=0)) > 40, "more than the batch of 32 has"
    if inputs == "data":
        assert set(u.unique().tolist()) == {0.0, 1.0}
        assert not list(part.parameters())
    else:
        torch.testing.assert_close(u, 0.1 + 0.8 * u.round(), atol=1e-3, rtol=0)


def test_a_second_stage_keeps_the_pseudo_inputs_of_the_first(trained):
    blocks = spec(prior={"type": "vamp", "components": 5})
    train = {"steps": 3, "optimizer": {"type": "sgd", "lr": 1e-9}}
    blocks["stages"] = [{"name": "one", **train}, {"name": "two", **train}]
    blocks["train"] = {"device": "cpu"}
    seen = []
    initialise = VampPrior.initialise

    def watch(part, model, batch):
        initialise(part, model, batch)
        seen.append(part.inputs.detach().clone())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(VampPrior, "initialise", watch)
        trained(blocks)
    assert len(seen) == 2 and torch.allclose(*seen, atol=1e-6)


def test_pseudo_inputs_have_the_masks_of_the_examples_that_they_are():
    data = vaezoo.DataSpec((5, 3), "binary", mask_dims=1, variable_length=True)
    wiring = vaezoo.PriorWiring(data=data, train_size=50, space=vaezoo.Space((2,)))
    part = VampPrior(wiring, components=4, inputs="data")
    mask = torch.arange(4) < torch.tensor([[4], [2], [1], [3]])
    part.initialise(None, vaezoo.Batch(torch.ones(4, 4, 3), mask=mask))
    assert torch.equal(part.shown[:, :4], mask) and not bool(part.shown[:, 4:].any())
    seen = []

    class Encoder:
        encoder, latents = torch.nn.Identity(), torch.nn.Identity()

        def posterior(self, batch, name):
            seen.append(batch.mask)
            return vaezoo.distributions.DiagonalNormal(torch.zeros(4, 2), torch.zeros(4, 2))

    part(None, Encoder())
    assert torch.equal(seen[0], part.shown)


def composed(**model):
    """The model of a spec with noise in its weights, and 20 examples."""
    _, train, (task,) = prepare_training(load_spec(spec(**model)), torch.device("cpu"))
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in task.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return task.eval(), train.first(20)


def test_the_vamp_prior_is_the_mean_of_the_posteriors_of_its_pseudo_inputs():
    task, batch = composed(prior=PRIORS["vamp"])
    model, prior = task.model, task.model.latents.prior
    site = model(batch, 3).sites[0]
    q = model.posterior(vaezoo.Batch(prior.pseudo_inputs.sigmoid()))
    log_q = torch.stack(
        [Normal(q.loc[c], q.scale[c]).log_prob(site.z).sum(-1) for c in range(len(q.loc))]
    )
    expected = log_q.logsumexp(0) - math.log(len(q.loc))
    torch.testing.assert_close(site.p.log_prob(site.z), expected, atol=1e-4, rtol=1e-5)
    task.zero_grad()
    site.p.log_prob(site.z.detach()).mean().backward()
    assert prior.pseudo_inputs.grad.abs().sum() > 0
    assert all(p.grad is not None for p in model.encoder.parameters())


CONV = {"type": "conv", "channels": [4], "norm": "batch"}
MLP = {"type": "mlp", "hidden": [16], "norm": "batch", "dropout": 0.5}


@pytest.mark.parametrize("encoder", [CONV, MLP], ids=["conv", "mlp"])
def test_the_vamp_prior_is_the_same_density_in_training_and_evaluation(encoder):
    task, batch = composed(prior=PRIORS["vamp"], encoder=encoder)
    prior, model = task.model.latents.prior, task.train().model
    for _ in range(5):
        model(batch)  # moves the statistics
    alone = copy.deepcopy(model.encoder)
    alone(batch.x)
    modes = [module.training for module in model.modules()]
    training = model(batch).sites[0].p
    assert [module.training for module in model.modules()] == modes
    for name, value in alone.named_buffers():
        torch.testing.assert_close(model.encoder.get_buffer(name), value, msg=name)
    z = torch.randn(7, 3)
    log_p = training.log_prob(z)
    task.zero_grad()
    log_p.mean().backward()
    assert prior.pseudo_inputs.grad.abs().sum() > 0
    assert all(p.grad is not None for p in model.encoder.parameters())
    evaluation = task.eval().model(batch).sites[0].p
    torch.testing.assert_close(evaluation.log_prob(z), log_p)


def test_the_rate_of_a_flow_posterior_is_unbiased():
    """Importance weights average to the same p(x), whatever the posterior."""
    task, batch = composed(posterior=POSTERIORS["planar"])
    plain = copy.deepcopy(task.model)
    with torch.no_grad():
        first = task.model(batch, 20_000).log_weight
        estimate = first.logsumexp(0) - math.log(20_000)
        wide = plain.latents.posterior  # another posterior of the same model: wider
        wide.linear.bias[3:6] += 1.5
        second = plain(batch, 20_000).log_weight
    other = second.logsumexp(0) - math.log(20_000)
    torch.testing.assert_close(estimate, other, atol=0.1, rtol=0)


def test_fitted_samplers_draw_and_are_kept_with_the_weights(trained):
    blocks = spec(train={"steps": 200})
    quick = {"hidden": [32], "fit_steps": 50}
    blocks["samplers"] = {
        "flow": {"type": "neural-spline", **quick},
        "stage": {"type": "second-stage", **quick},
    }
    run = trained(blocks)
    again = vaezoo.open_run(run.path, device="cpu").model
    for name in ("flow", "stage"):
        first = run.model.sample(6, sampler=name, seed=1)
        assert first.shape == (6, 1, 8, 8)
        assert torch.equal(first, again.sample(6, sampler=name, seed=1))
        assert not torch.equal(first, run.model.sample(6, seed=1))


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (
            {"prior": "vamp", "condition": {"type": "label", "into": ["encoder", "decoder"]}},
            "pseudo-inputs have no condition",
        ),
        ({"prior": {"type": "vamp", "components": 100_000}}, "as many training examples"),
        ({"latent_dim": 1, "prior": "real-nvp"}, "two halves of the dimensions"),
        (
            {
                "posterior": "planar",
                "encoder": {"type": "conv", "channels": [4], "hidden": 0},
                "decoder": {"type": "conv", "channels": [4], "hidden": 0},
                "latents": {"type": "single", "maps": True},
            },
            "needs latent vectors, not maps",
        ),
    ],
    ids=range(4),
)
def test_what_does_not_go_together_is_said(model, says):
    with pytest.raises(vaezoo.SpecError, match=says):
        check_spec(spec(**model))


def test_gradients_that_need_a_stopped_posterior_are_refused():
    blocks = spec(posterior=POSTERIORS["planar"])
    blocks["objective"] = {"type": "iwae", "samples": 3, "gradient": "dreg"}
    with pytest.raises(vaezoo.VaezooError, match="gradient"):
        check_spec(blocks)


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_examples_compose(example):
    prepare_training(load_spec(example, ["train.device=cpu"]), torch.device("cpu"))
