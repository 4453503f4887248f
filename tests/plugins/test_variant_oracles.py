"""Variants of an out-of-tree package against closed forms, identities and orderings of bounds.

Shapes: K samples, B examples, D latent dimensions.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Independent, Normal, kl_divergence

import vaezoo
from tests.conftest import standard_error
from tests.plugins.test_variants import CPU, VARIANTS, blocks
from vaezoo.data.dataset import Split
from vaezoo.data.dataspec import DataSpec
from vaezoo.data.loader import Loader
from vaezoo.evaluation.validation import validate
from vaezoo.model.estimators import importance_sampling
from vaezoo.runs.setup import prepare_training
from vaezoo.spec.load import load_spec


@pytest.fixture(autouse=True)
def _installed(variants):
    """The package is importable."""


@pytest.fixture
def composed(spec):
    """The model of a variant in evaluation mode, with noise in its weights, and 20 examples."""

    def make(name, **model):
        changes = blocks(name, spec)
        changes["model"] = {**changes["model"], **model}
        _, train, (task,) = prepare_training(load_spec(changes), CPU)
        with torch.no_grad():
            for parameter in task.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        return task.eval(), train.first(20)

    return make


def torch_normal(normal):
    """The independent implementation of a diagonal normal."""
    return Independent(Normal(normal.loc, normal.scale), len(normal.event_shape))


def test_vamp_is_the_mean_of_the_posteriors_at_its_pseudo_inputs(composed):
    task, batch = composed("vamp")
    model, prior = task.model, task.model.latents.prior
    site = model(batch, 3).sites[0]
    q = model.posterior(vaezoo.Batch(prior.pseudo_inputs.sigmoid()))
    log_q = torch.stack(
        [Normal(q.loc[c], q.scale[c]).log_prob(site.z).sum(-1) for c in range(len(q.loc))]
    )
    torch.testing.assert_close(site.p.log_prob(site.z), log_q.logsumexp(0) - math.log(len(q.loc)))
    task.zero_grad()
    site.p.log_prob(site.z.detach()).mean().backward()
    assert prior.pseudo_inputs.grad.abs().sum() > 0
    assert all(p.grad is not None for p in model.encoder.parameters())


def test_pseudo_inputs_are_encoded_once_for_all_importance_samples(composed, monkeypatch):
    task, batch = composed("vamp")
    monkeypatch.setattr("vaezoo.model.latent_variable_model.MAX_DECODED_SCALARS", 20 * 64 * 2)
    calls = []
    task.model.encoder.register_forward_hook(lambda *_: calls.append(1))
    log_p, _ = importance_sampling(task.model, batch, 10)
    assert log_p.shape == (20,) and len(calls) == 2, "the batch, and the pseudo-inputs"


def diffusion(steps=7):
    from vaezoo_variants.diffusion import DiffusionPrior

    wiring = vaezoo.PriorWiring(data=DataSpec((4,)), train_size=1, space=vaezoo.Space((3,)))
    return DiffusionPrior(wiring, steps=steps, hidden=(16,))


@pytest.mark.parametrize("steps", [2, 7, 100])
@torch.no_grad()
def test_the_bound_of_a_diffusion_prior_is_exact_for_the_exact_denoiser(steps):
    z = torch.randn(6, 3)
    estimates = diffusion(steps)(None, None).log_prob(z.expand(4000, 6, 3))
    exact = Normal(0.0, 1.0).log_prob(z).sum(-1)
    for estimate, value in zip(estimates.unbind(1), exact, strict=True):
        assert abs(float(estimate.mean() - value)) < 4 * standard_error(estimate)


@torch.no_grad()
def test_another_denoiser_gives_a_lower_bound_and_the_samples_of_its_model():
    prior = diffusion()
    z = torch.randn(20_000, 3)
    entropy = -1.5 * math.log(2 * math.pi * math.e)
    gaps = []
    for noise in (0.0, 0.3):
        prior.net[1].weight.add_(noise * torch.randn_like(prior.net[1].weight))
        bound = prior(None, None).log_prob(z)
        gaps.append((entropy - float(bound.mean())) / standard_error(bound))
    assert abs(gaps[0]) < 4 and gaps[1] > 10  # no density exceeds that of N(0, I) under N(0, I)
    samples = diffusion()(None, None).sample((20_000,))
    torch.testing.assert_close(samples.T.cov(), torch.eye(3), atol=0.05, rtol=0)


def test_a_ladder_of_one_level_is_a_single_latent_map(spec, composed):
    task, batch = composed(
        "ladder",
        latents={"type": "ladder", "levels": 1},
        decoder={"type": "conv", "channels": [16, 8]},
    )
    changes = spec(
        **{
            **VARIANTS["ladder"],
            "model": {
                "encoder": VARIANTS["ladder"]["model"]["encoder"],
                "latents": {"type": "single", "maps": True},
                "decoder": {"type": "conv", "channels": [16, 8]},
            },
        },
    )
    _, _, (single,) = prepare_training(load_spec(changes), CPU)
    single.model.load_state_dict(task.model.state_dict())
    traces = []
    for model in (task.model, single.eval().model):
        torch.manual_seed(0)
        traces.append(model(batch, 3))
    assert torch.equal(traces[0].mean_elbo, traces[1].mean_elbo)
    assert torch.equal(traces[0].log_weight, traces[1].log_weight)


def test_the_rate_of_a_ladder_is_the_sum_over_its_levels(composed):
    task, batch = composed("ladder")
    trace = task.model(batch, 4)
    assert [site.name for site in trace.sites] == ["level-1", "level-2"]
    assert [tuple(site.z.shape) for site in trace.sites] == [(4, 20, 2, 2, 2), (4, 20, 2, 4, 4)]
    expected = sum(
        kl_divergence(torch_normal(site.q), torch_normal(site.p)).expand(4, 20)
        for site in trace.sites
    )
    torch.testing.assert_close(trace.rate, expected)
    ratio = sum(
        torch_normal(site.q).log_prob(site.z) - torch_normal(site.p).log_prob(site.z)
        for site in trace.sites
    )
    torch.testing.assert_close(trace.log_weight, trace.log_likelihood - ratio)


def test_a_code_of_a_ladder_is_made_of_its_latent_maps(composed):
    task, batch = composed("ladder")
    trace = task.model(batch, 1)
    z = torch.cat([site.z[0].flatten(1) for site in trace.sites], 1)
    code = task.model.latents.code(z, task.model.start_generation(20))
    torch.testing.assert_close(code, trace.code[0])


def test_the_bound_of_m2_is_the_enumerated_one(composed):
    task, batch = composed("m2")
    model, classes = task.model, 10
    label = batch.condition.clone()
    label[::2] = -1
    batch = vaezoo.Batch(batch.x, label)
    torch.manual_seed(0)
    loss, terms = task(batch)
    torch.manual_seed(0)
    h = model.encoder(batch.x)[0]
    log_q_y = model.latents.logits(h).log_softmax(-1)
    one_hot = torch.eye(classes)[:, None].expand(-1, 20, -1)
    q = model.latents.posterior(torch.cat([h.expand(classes, *h.shape), one_hot], -1))
    z = q.loc + q.scale * torch.randn_like(q.loc)
    elbo_given_y = []
    for y in range(classes):
        px = model.likelihood_of(torch.cat([one_hot[y], z[y]], -1), None, {})
        kl = kl_divergence(Normal(q.loc[y], q.scale[y]), Normal(0.0, 1.0)).sum(-1)
        elbo_given_y.append(px.log_prob(batch.x) - kl - math.log(classes))
    given_y = torch.stack(elbo_given_y, 1)  # [B, classes]: the bound of log p(x, y)
    unlabelled = (log_q_y.exp() * (given_y - log_q_y)).sum(1)
    labelled = given_y.gather(1, label.clamp(min=0)[:, None])[:, 0]
    expected = torch.where(label < 0, unlabelled, labelled)
    torch.testing.assert_close(-(terms["distortion"] + terms["rate"]), expected)
    cross_entropy = -log_q_y.gather(1, label.clamp(min=0)[:, None])[:, 0]
    torch.testing.assert_close(loss, torch.where(label < 0, 0, cross_entropy) - expected)


def test_validation_measures_the_pass_of_the_objective(composed):
    task, batch = composed("m2")
    labels = torch.where(torch.arange(20) % 2 == 0, batch.condition, -1)
    loader = Loader(Split(batch.x, labels), CPU, 20)
    torch.manual_seed(0)
    measured = validate(task, loader)
    torch.manual_seed(0)
    with torch.no_grad():
        trace = task.objective.trace(task.model, vaezoo.Batch(batch.x, labels))
    for name, values in (("distortion", trace.mean_distortion), ("rate", trace.mean_rate)):
        assert measured[name] == pytest.approx(float(values.mean()), rel=1e-5)


def test_values_can_be_fixed_only_where_the_latents_take_them(composed):
    task, batch = composed("m2")
    with pytest.raises(ValueError, match="no latent variable named 'typo'; the model has y, z"):
        task.model(batch, 1, {"typo": torch.zeros(1)})
    with pytest.raises(NotImplementedError, match="ClassAndStyle cannot fix the latent"):
        task.model(batch, 1, {"z": torch.zeros(1, 20, 2)})
    inference = task.model.start_inference(batch, 1, {"z": torch.zeros(1, 20, 2)})
    with pytest.raises(NotImplementedError, match="ClassAndStyle cannot fix the latent"):
        task.model.infer(inference)
    plain, batch = composed("vamp")
    z = torch.randn(3, 20, 2)
    trace = plain.model(batch, 3, {"z": z})
    assert trace.sites[0].z is z and trace.code is z


def test_sampling_the_class_of_m2_agrees_with_enumerating_it(composed):
    task, batch = composed("m2")
    batch = vaezoo.Batch(batch.x[:4], torch.full((4,), -1))
    with torch.no_grad():
        enumerated = torch.stack(
            [task.objective.trace(task.model, batch).mean_elbo for _ in range(400)]
        )
        trace = task.model(batch, 4000)
        sampled = trace.log_weight
    for a, b in zip(enumerated.unbind(1), sampled.unbind(1), strict=True):
        error = math.hypot(standard_error(a), standard_error(b))
        assert abs(float(a.mean() - b.mean())) < 4 * error
    with pytest.raises(NotImplementedError, match="enumerated samples"):
        _ = task.objective.trace(task.model, batch).log_weight
