"""Sequences work with the components of other plugins, without special cases."""

from __future__ import annotations

import pytest
import torch

from vaezoo.runs.setup import prepare_training
from vaezoo.runs.start import run
from vaezoo.spec.load import load_spec
from vaezoo.utils.errors import SpecError

CHAIN = {"type": "chain", "units": 8, "hidden": 8}
LATENTS = {
    "vrnn": CHAIN,
    "hvrnn": CHAIN | {"levels": 2, "clocks": [2, 1], "sequence_dim": 3, "dropout": 0.1},
    "vrae": {"type": "recurrent", "units": 8, "word_dropout": 0.2},
}
SHORT = {"train": {"steps": 4}, "evaluate": ["elbo", {"type": "steps", "samples": 3}]}


@pytest.mark.parametrize("latents", LATENTS.values(), ids=LATENTS)
@pytest.mark.parametrize(
    "into", [["encoder", "prior", "decoder"], ["prior"], ["decoder"]], ids="-".join
)
def test_a_label_conditions_sequences(spec, latents, into, tmp_path):
    if latents["type"] == "chain" and "prior" not in into:
        into = [*into, "encoder"]
    done = run(
        spec(latents=latents, condition={"type": "label", "into": into}) | SHORT, out=tmp_path
    )
    samples = done.model.sample(6, torch.tensor([0, 1, 2, 0, 1, 2]), seed=1, steps=5)
    assert samples.shape == (6, 5, 6)
    same = done.model.sample(6, torch.zeros(6, dtype=torch.long), seed=1, steps=40)
    other = done.model.sample(6, torch.ones(6, dtype=torch.long), seed=1, steps=40)
    assert not torch.equal(same, other), "the label changes nothing"


@pytest.mark.parametrize("latents", LATENTS.values(), ids=LATENTS)
@pytest.mark.parametrize(
    "regularizers",
    [
        [{"type": "beta-kl", "weight": {"type": "cyclical", "cycles": 2, "steps": 4}}],
        [{"type": "free-bits", "nats": 0.1}],
        [{"type": "capacity-kl", "capacity": 2.0, "weight": 1.0}],
        [{"type": "kl", "weight": 0.1}, {"type": "adversarial", "hidden": [8]}],
        [{"type": "beta-kl", "weight": {"type": "pi-control", "target": 3.0}}],
    ],
    ids=["cyclical", "free-bits", "capacity", "adversarial", "pi-control"],
)
def test_other_penalties_go_with_sequences(spec, latents, regularizers, tmp_path):
    done = run(spec(latents=latents) | SHORT | {"regularizers": regularizers}, out=tmp_path)
    assert all(
        torch.isfinite(torch.tensor(metric["value"]))
        for metric in done.evaluation["metrics"].values()
    )


@pytest.mark.parametrize("latents", LATENTS.values(), ids=LATENTS)
def test_a_critic_learns_in_its_own_move(spec, latents, composed):
    regularizers = [{"type": "adversarial", "hidden": [8]}]
    task, batch = composed(spec(latents=latents) | {"regularizers": regularizers})
    (phase,) = task.regularizers["adversarial"].phases()
    task.zero_grad()
    loss, _ = phase.loss(task.model, batch)
    loss.sum().backward()
    assert all(p.grad is None for p in task.model.parameters())
    critics = task.regularizers["adversarial"].critics
    assert len(critics) == len(task.model.infer_detached(batch, 1).sites)
    assert all(bool(p.grad.abs().sum() > 0) for p in critics.parameters())


@pytest.mark.parametrize("latents", LATENTS.values(), ids=LATENTS)
def test_iwae_trains_sequences(spec, latents, tmp_path):
    done = run(
        spec(latents=latents) | SHORT | {"objective": {"type": "iwae", "samples": 5}}, out=tmp_path
    )
    metrics = done.evaluation["metrics"]
    assert metrics["iwae_per_step"]["value"] > metrics["elbo_per_step"]["value"]


def test_what_needs_one_vector_for_each_example_says_so(spec, composed):
    with pytest.raises(SpecError, match=r"regularizers\.0: .* needs one latent vector"):
        composed(spec() | {"regularizers": [{"type": "beta-tc", "weight": 2.0}]})


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"decoder": {"type": "mlp", "hidden": [8]}}, "decoder 'mlp'"),
        ({"latents": "single"}, "needs one code per step"),
        (
            {
                "encoder": {"type": "recurrent", "cell": "none"},
                "latents": CHAIN | {"sequence_dim": 2},
            },
            "recurrent network",
        ),
        (
            {"encoder": {"type": "recurrent", "cell": "none"}, "latents": CHAIN | {"clocks": [2]}},
            "clock above 1",
        ),
        ({"latents": CHAIN | {"levels": 2, "widths": [0, 0]}}, "every level has width 0"),
        ({"latents": CHAIN | {"levels": 2, "clocks": [1]}}, "one number for each of the 2 levels"),
        (
            {"latents": {"type": "recurrent", "teacher_forcing": False, "word_dropout": 0.1}},
            "word_dropout needs",
        ),
        ({"prior": {"type": "mixture"}}, "define their own prior"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_reason(spec, parts, message):
    with pytest.raises(SpecError, match=message):
        prepare_training(load_spec(spec(**parts)), torch.device("cpu"))


def test_latents_with_steps_refuse_images():
    content = {
        "spec": "vaezoo/v1",
        "name": "images",
        "data": "digits",
        "model": {
            "latent_dim": 2,
            "encoder": "conv",
            "decoder": "conv",
            "likelihood": "bernoulli",
            "latents": CHAIN,
        },
    }
    with pytest.raises(SpecError, match="need sequences"):
        prepare_training(load_spec(content), torch.device("cpu"))
