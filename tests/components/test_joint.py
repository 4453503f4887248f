"""Data of several parts: what is encoded, what is scored, and what a missing part may change."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

import vaezoo
from vaezoo.runs.setup import prepare_training
from vaezoo.spec.load import load_spec
from vaezoo.testing import check_spec
from vaezoo.utils.errors import SpecError

CPU = torch.device("cpu")
MLP = {"type": "mlp", "hidden": [16]}
MODEL = {
    "latent_dim": 4,
    "encoder": {"type": "joint", "parts": {"image": MLP, "label": MLP}},
    "decoder": {"type": "joint", "parts": {"image": MLP, "label": MLP}},
    "likelihood": {"type": "joint", "parts": {"image": "bernoulli", "label": "categorical"}},
}


@pytest.fixture(scope="session")
def file(tmp_path_factory):
    """200 digits with one-hot labels, of which about half are missing, and a weight."""
    x, y = load_digits(return_X_y=True)
    path = tmp_path_factory.mktemp("parts") / "parts.npz"
    arrays = {
        "x.image": np.round(x[:200] * 255 / 16).astype(np.uint8).reshape(-1, 1, 8, 8),
        "x.label": np.eye(10, dtype=np.uint8)[y[:200]],
        "present.label": np.random.default_rng(0).random(200) < 0.5,
        "extras.weight": np.arange(200.0),
        "condition": y[:200],
    }
    np.savez(path, **arrays)
    return path


def blocks(file, **model):
    return {
        "spec": "vaezoo/v1",
        "name": "parts",
        "data": {
            "type": "npz",
            "path": str(file),
            "support": {"label": "one-hot"},
            "batch_size": 32,
        },
        "model": MODEL | model,
        "train": {"steps": 4},
        "evaluate": ["elbo"],
    }


@pytest.fixture
def model_and_batch(file):
    _, train, (task,) = prepare_training(load_spec(blocks(file)), CPU)
    batch = train.first(20)
    assert 0 < batch.has("label").sum() < 20
    return task.model.eval(), batch


def test_models_of_several_parts_keep_the_contracts(file):
    check_spec(blocks(file))


def test_the_likelihood_is_the_sum_over_the_parts_that_are_present(model_and_batch):
    model, batch = model_and_batch
    trace = model(batch, 3)
    image, label = (trace.px.parts[name].mean for name in ("image", "label"))
    x, y = batch.x["image"], batch.x["label"]
    of_image = (x * image.log() + (1 - x) * (1 - image).log()).flatten(2).sum(-1)
    of_label = (y * label.log()).sum(-1) * batch.has("label")
    torch.testing.assert_close(trace.log_likelihood, of_image + of_label)
    per_part = model.likelihood.log_prob_of_parts(trace)
    torch.testing.assert_close(per_part["label"], of_label)


def test_what_a_missing_part_holds_changes_nothing(model_and_batch):
    model, batch = model_and_batch
    missing = ~batch.has("label")
    junk = torch.where(missing[:, None], torch.nan, batch.x["label"])
    other = replace(batch, x={**batch.x, "label": junk})
    for method in (model.encode, lambda b: model.log_likelihood(b, samples=5)):
        torch.manual_seed(0)
        expected = method(batch)
        torch.manual_seed(0)
        torch.testing.assert_close(method(other), expected, rtol=0, atol=0)


def test_what_a_missing_part_holds_reaches_no_gradient(file):
    _, train, (task,) = prepare_training(load_spec(blocks(file)), CPU)
    batch = train.first(20)
    junk = torch.where(~batch.has("label")[:, None], torch.nan, batch.x["label"])
    task(replace(batch, x={**batch.x, "label": junk}))[0].mean().backward()
    assert all(bool(p.grad.isfinite().all()) for p in task.parameters())


def test_some_parts_are_encoded_and_all_are_scored(model_and_batch):
    model, batch = model_and_batch
    batch = replace(batch, present=None)
    torch.manual_seed(0)
    trace = model(batch, encode=batch.only("label"))
    torch.manual_seed(0)
    blank = replace(batch, x={**batch.x, "image": torch.zeros_like(batch.x["image"])})
    torch.testing.assert_close(trace.sites[0].q.mean, model(blank).sites[0].q.mean)
    assert trace.batch is batch
    expected = sum(model.likelihood.log_prob_of_parts(trace).values())
    torch.testing.assert_close(trace.log_likelihood, expected)
    with pytest.raises(ValueError, match="no part named 'lable'; the parts are image, label"):
        batch.only("lable")


def test_a_part_that_no_example_has_gets_no_gradient(file):
    _, train, (task,) = prepare_training(load_spec(blocks(file)), CPU)
    batch = train.first(8).only("image")
    task(batch)[0].mean().backward()
    gradients = {
        name: float(part.weight.grad.abs().sum())
        for name, module in task.model.decoder.parts.items()
        for part in [list(module.modules())[-1]]
    }
    assert gradients["label"] == 0 < gradients["image"]


def test_outputs_are_mappings_in_the_shape_of_the_parts(model_and_batch):
    model, batch = model_and_batch

    def shapes(x):
        return {name: tuple(value.shape) for name, value in x.items()}

    assert shapes(model.sample(3, mean=False)) == {"image": (3, 1, 8, 8), "label": (3, 10)}
    assert shapes(model.reconstruct(batch)) == {"image": (20, 1, 8, 8), "label": (20, 10)}
    path = model.interpolate(batch.select(slice(2)), batch.select(slice(2, 4)), 5)
    assert shapes(path) == {"image": (2, 5, 1, 8, 8), "label": (2, 5, 10)}
    sheet = model.traverse(batch.select(slice(1)), torch.tensor([0, 1]), 7)
    assert shapes(sheet) == {"image": (2, 7, 1, 8, 8), "label": (2, 7, 10)}
    cold = model.sample(3, mean=False, temperature=0)
    assert bool((cold["label"].sum(-1) == 1).all()), "the most probable label"


def test_the_compiled_step_is_one_graph(file, graphs_of):
    _, train, (task,) = prepare_training(load_spec(blocks(file)), CPU)
    assert graphs_of(task, train.first(8)) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"encoder": MLP}, "model.encoder: encoder 'mlp' takes one tensor, but examples have the"),
        ({"likelihood": "normal"}, "needs binary or .*, but this data set is joint"),
        (
            {"decoder": {"type": "joint", "parts": {"image": MLP}}},
            "names the parts image, but those of the data are image, label",
        ),
    ],
)
def test_components_that_do_not_fit_the_parts_are_refused(file, changes, message):
    with pytest.raises(SpecError, match=message):
        prepare_training(load_spec(blocks(file, **changes)), CPU)


def test_one_variance_for_the_batch_is_refused_for_a_part_that_may_be_missing(file):
    parts = {"image": "bernoulli", "label": {"type": "normal", "scale": "optimal"}}
    changes = {"likelihood": {"type": "joint", "parts": parts}}
    spec = blocks(file, **changes)
    del spec["data"]["support"]
    with pytest.raises(SpecError, match="part 'label' needs all examples of a batch"):
        prepare_training(load_spec(spec), CPU)


def test_parts_need_data_of_several_parts(spec):
    with pytest.raises(SpecError, match="takes data of several parts, but examples"):
        prepare_training(load_spec(spec(model={"encoder": MODEL["encoder"]})), CPU)


def test_the_weights_of_several_parts_are_stored_and_opened(file, tmp_path):
    run = vaezoo.run(blocks(file), out=tmp_path)
    again = vaezoo.open_run(run.path, device="cpu")
    assert again.model.data == run.model.data
    assert again.model.data.extras == {"weight": ()}
    for name, x in run.model.sample(4, seed=0).items():
        assert torch.equal(again.model.sample(4, seed=0)[name], x)
    names = {path.stem for path in (run.path / "pictures").iterdir()}
    assert {"samples.image", "others.image", "reconstructions.label"} <= names


def test_a_conditional_model_of_several_parts_trains_is_drawn_and_classifies(file, tmp_path):
    condition = {"type": "label", "into": ["decoder"]}
    spec = blocks(file, condition=condition) | {
        "evaluate": ["elbo", {"type": "classification", "samples": 2, "limit": 10}]
    }
    run = vaezoo.run(spec, out=tmp_path)
    assert run.evaluation["metrics"].keys() >= {"elbo", "accuracy"}, run.evaluation["undefined"]
    batch = run.data().first(4)
    sheet = run.model.translate(batch, torch.arange(3))
    assert sheet["image"].shape == (4, 4, 1, 8, 8)
    assert torch.equal(sheet["label"][:, 0], batch.x["label"])
    reconstructed = run.model.reconstruct(batch)["image"]
    assert reconstructed.shape == batch.x["image"].shape
    with pytest.raises(SpecError, match="a condition cannot be fused with data of several parts"):
        load = load_spec(blocks(file, condition={"type": "label"}))
        prepare_training(load, CPU)
