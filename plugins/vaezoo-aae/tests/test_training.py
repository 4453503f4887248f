"""Short runs on the digits: critics bring the aggregate posterior to the prior, labels and heads
find each other."""

from __future__ import annotations

import pytest
import torch
from vaezoo_aae.metrics import HeadError
from vaezoo_aae.priors import Ring

import vaezoo
from vaezoo.evaluation.validation import validate
from vaezoo.runs.loaders import build_loader
from vaezoo.runs.setup import prepare_training
from vaezoo.spec.load import load_spec
from vaezoo.training.trainer import Trainer
from vaezoo.utils.devices import pick_device
from vaezoo.utils.process_group import ProcessGroup

from .conftest import prior_wiring, spec

OPTIMIZER = {"type": "adam", "lr": 2e-3, "betas": [0.5, 0.999]}
WIDE = {"encoder": {"type": "mlp", "hidden": [64]}, "decoder": {"type": "mlp", "hidden": [64]}}


class Records(list):
    """A journal in memory."""

    record = list.append

    def checkpoint(self, step, state):
        return

    def describe_last_checkpoint(self):
        return "no checkpoint"

    def is_stop_requested(self):
        return False


def train(inputs, **options):
    """The trained model of a spec, its splits by name, and its records."""
    inputs["train"] |= {"optimizer": OPTIMIZER, "log_every": 20, "validate_every": 1000, **options}
    loaded, device = load_spec(inputs), pick_device("cpu")
    dataset, training, (task,) = prepare_training(loaded, device)
    splits = {
        name: build_loader(loaded, dataset, name, device)
        for name in ("train", "validation", "test")
    }
    records = Records()
    Trainer(
        task,
        training,
        loaded.stages[0],
        validate=lambda t: validate(t, splits["validation"]),
        run_log=records,
        process_group=ProcessGroup(),
    ).fit()
    return task.model.eval(), splits, records


def energy_distance(first, second):
    """2 E|a - b| - E|a - a'| - E|b - b'| of two samples ``[n, D]``: 0 for equal distributions."""
    across, *within = (
        torch.cdist(a, b).mean() for a, b in ((first, second), (first, first), (second, second))
    )
    return (2 * across - sum(within)).item()


def codes(model, split):
    """The latent vectors of a split ``[n, D]``, and the labels."""
    batch = split.first(len(split))
    return model.encode(batch.x, batch.condition), batch.condition


def to_ring(model, splits):
    """How far the test split's latent vectors are from the ring."""
    z, _ = codes(model, splits["test"])
    torch.manual_seed(0)
    return energy_distance(z, Ring(prior_wiring(2))(None, None).sample((2000,)))


@pytest.fixture(scope="module")
def untouched():
    """The distance without a critic."""
    return to_ring(*train(spec(prior="ring", regularizers=[], **WIDE), epochs=10)[:2])


@pytest.mark.parametrize(
    "options",
    [
        {"loss": "non-saturating", "weight": 10.0},
        {"loss": "least-squares", "weight": 10.0},
        {"loss": "wasserstein-gp", "weight": 1.0, "gradient_penalty": 1.0},
    ],
    ids=lambda options: options["loss"],
)
def test_a_critic_brings_the_aggregate_posterior_to_the_ring(untouched, options):
    critic = {"type": "adversarial", "hidden": [64, 64], **options}
    model, splits, records = train(spec(prior="ring", regularizers=[critic], **WIDE), epochs=20)
    assert to_ring(model, splits) < 0.15 * untouched
    assert {
        "critic/loss",
        "critic/real",
        "critic/fake",
        "adversarial",
        "adversarial_weight",
    } <= records[0].keys()
    assert records[-1]["distortion"] < records[0]["distortion"], "it is an autoencoder still"


def test_a_critic_that_sees_the_label_gives_each_class_its_own_part_of_the_prior():
    result = {}
    for weight in (0.0, 20.0):
        critic = {"type": "adversarial", "hidden": [256], "weight": weight}
        condition = {"type": "one-hot-label", "into": ["prior"]}
        inputs = spec(prior="ring", condition=condition, regularizers=[critic], **WIDE)
        model, splits, _ = train(inputs, epochs=35, optimizer=OPTIMIZER | {"lr": 5e-3})
        z, label = codes(model, splits["test"])
        own = model.latents.prior(torch.eye(10), model).log_prob(z[:, None]).argmax(1)
        result[weight] = (own == label).double().mean().item()
    assert result[0.0] < 0.4 and result[20.0] > 0.6


def test_few_labels_teach_the_head():
    result = {}
    for weight in (0.0, 20.0):
        critic = {"type": "adversarial", "hidden": [64], "weight": 3.0}
        inputs = spec(
            data={"type": "few-labels", "keep": 10, "batch_size": 64},
            latents="category-and-style",
            regularizers=[critic, {"type": "supervised", "weight": weight}],
            latent_dim=4,
            **WIDE,
        )
        model, splits, records = train(inputs, epochs=15)
        result[weight] = HeadError()(model, splits["test"])["head_error"].value
    assert result[0.0] > 0.5 and result[20.0] < 0.2
    assert records[-2]["supervised"] < 0.5


@pytest.mark.filterwarnings(
    "ignore:No artists with labels found:UserWarning"
)  # a report without an ELBO has an empty plot
def test_a_run_is_measured_drawn_and_opened_again(tmp_path):
    critic = {"type": "adversarial", "hidden": [16]}
    latents = {"type": "category-and-style", "classes": 12, "head": "add"}
    inputs = spec(
        latents=latents, prior="swiss-roll", posterior="universal", regularizers=[critic]
    )
    inputs["evaluate"] = ["elbo", "distortion", "clustering-error", "head-error"]
    run = vaezoo.run(inputs, out=tmp_path)
    assert set(run.evaluation["metrics"]) == {"distortion", "clustering_error"}
    assert set(run.evaluation["undefined"]) == {"elbo", "head-error"}
    model = vaezoo.open_run(run.path).model
    assert torch.equal(model.sample(5, seed=1), run.model.sample(5, seed=1))
    assert not any("critic" in name for name in model.state_dict()), (
        "the critic is no part of the model"
    )
    assert "clustering error" in run.directory.report.read_text()
