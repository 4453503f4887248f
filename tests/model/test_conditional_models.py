"""Conditional models: which parts use the context, masks, and conditions in all accepted forms."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Independent, Normal

from vaezoo.data.batch import Batch
from vaezoo.model.parts import Conditioner, Prior
from vaezoo.plugins import discovery
from vaezoo.plugins.catalogue import ComponentEntry
from vaezoo.runs.opening import open_run
from vaezoo.runs.report.page import write_report
from vaezoo.runs.run import report_data
from vaezoo.runs.setup import prepare_training
from vaezoo.spec.load import load_spec

CPU = torch.device("cpu")
SHAPES = {"vectors": (6,), "steps": (4, 3), "images": (1, 6, 6)}
COVERS = {"vectors": (6,), "steps": (4,), "images": (1, 6, 6)}


class Tiny(Conditioner):
    """Labels by a table, vectors by a linear layer."""

    def __init__(self, wiring, /):
        super().__init__()
        data = wiring.data
        labels = data.condition_shape == ()
        self.net = (
            nn.Embedding(len(data.classes), 3) if labels else nn.Linear(data.condition_shape[0], 3)
        )

    def forward(self, condition):
        return self.net(condition)


class Shifted(Prior):
    """N(Wc, I)."""

    conditional = True

    def __init__(self, wiring, /):
        super().__init__()
        (latent_dim,) = wiring.space.shape
        self.shift = nn.Linear(wiring.context_dim, latent_dim) if wiring.context_dim else None

    def forward(self, context, model):
        mean = self.shift(context)
        return Independent(Normal(mean, torch.ones_like(mean)), 1)


@pytest.fixture(autouse=True)
def parts(monkeypatch):
    """Registers the components of this file as a plugin does."""
    module = types.ModuleType("tiny_parts")
    module.Tiny, module.Shifted = Tiny, Shifted
    monkeypatch.setitem(sys.modules, "tiny_parts", module)
    entries = discovery.catalogue().entries
    for kind, name, cls in (("conditioner", "tiny", "Tiny"), ("prior", "shifted", "Shifted")):
        monkeypatch.setitem(
            entries, (kind, name), [ComponentEntry(kind, name, f"tiny_parts:{cls}", "tests")]
        )


@pytest.fixture
def blocks(tmp_path):
    """The blocks of a conditional model of random numbers in an npz file."""

    def make(form="vectors", condition=None, into=("encoder", "decoder"), masked=False, n=60):
        rng = np.random.default_rng(0)
        arrays = {"x": rng.random((n, *SHAPES[form]), np.float32)}
        arrays["condition"] = rng.integers(0, 4, n) if condition is None else condition(rng, n)
        if masked:
            arrays["mask"] = rng.random((n, *COVERS[form])) < 0.7
        np.savez(tmp_path / "some.npz", **arrays)
        model = {"condition": {"type": "tiny", "into": list(into)}}
        if "prior" in into:
            model["prior"] = "shifted"
        if form == "images":
            model["encoder"] = {"type": "conv", "channels": [4, 8]}
        model["likelihood"] = {"type": "normal", "scale": 1.0}
        data = {"type": "npz", "path": str(tmp_path / "some.npz"), "batch_size": 16}
        return {
            "data": data,
            "model": model,
            "train": {"epochs": 1},
            "evaluate": ["elbo", {"type": "nll", "samples": 4}],
        }

    return make


@pytest.fixture
def model(spec, blocks):
    """An untrained model and its whole training split as one batch."""

    def build(*args, **kwargs):
        loaded = load_spec(spec(**blocks(*args, **kwargs)))
        _, data, (task,) = prepare_training(loaded, CPU)
        return task.model.eval(), data.first(len(data))

    return build


@pytest.mark.parametrize("form", SHAPES)
def test_the_encoder_sees_the_context_although_the_mask_hides_the_data(form, model):
    built, batch = model(form, into=("encoder",), masked=True)
    hidden, same_start = torch.zeros_like(batch.mask), batch.x.clone()
    if form == "steps":  # a sequence has one step at least
        hidden[:, 0], same_start[:, 0] = True, 0.5
    encoded = [
        built.encode(same_start, torch.full_like(batch.condition, label), hidden)
        for label in (0, 1)
    ]
    assert not torch.allclose(encoded[0][0], encoded[1][0])
    torch.testing.assert_close(
        encoded[0], encoded[0][:1].expand_as(encoded[0])
    )  # and nothing else


@pytest.mark.parametrize("form", SHAPES)
def test_what_the_mask_hides_matters_to_no_figure(form, model):
    built, batch = model(form, masked=True)
    covered = batch.mask.reshape(*batch.mask.shape, *(1,) * (batch.x.dim() - batch.mask.dim()))
    other = torch.where(covered, batch.x, torch.full_like(batch.x, 1e3))
    assert not torch.equal(other, batch.x)
    torch.testing.assert_close(
        built.encode(other, batch.condition, batch.mask),
        built.encode(batch.x, batch.condition, batch.mask),
    )
    figures = []
    for x in (batch.x, other):
        torch.manual_seed(0)
        with built.inference():
            trace = built(Batch(x, batch.condition, batch.mask), 3)
            figures.append((trace.distortion, trace.rate, trace.log_weight))
    torch.testing.assert_close(*figures)
    observed = built.encode(batch.x + covered, batch.condition, batch.mask)
    assert not torch.allclose(observed, built.encode(batch.x, batch.condition, batch.mask)), (
        "what is observed does matter"
    )


@pytest.mark.parametrize(
    "into", [("encoder",), ("decoder",), ("prior",), ("encoder", "prior", "decoder")], ids="+".join
)
def test_the_context_reaches_the_parts_it_is_meant_for_and_no_other(into, model):
    built, batch = model(into=into)
    other = (batch.condition + 1) % 4
    moved = {}
    moved["encoder"] = not torch.equal(
        built.encode(batch.x, batch.condition), built.encode(batch.x, other)
    )
    z = torch.zeros(len(batch), 2)
    moved["decoder"] = not torch.equal(built.decode(z, batch.condition), built.decode(z, other))
    priors = []
    for condition in (batch.condition, other):
        torch.manual_seed(0)
        with built.inference():
            priors.append(built(Batch(batch.x, condition)).sites[0].p.mean)
    moved["prior"] = not torch.equal(*priors)
    assert {part for part, observed in moved.items() if observed} == set(into)


def numbers(kind):
    """Converts conditions to a form that users pass."""
    return {"array": lambda c: c.numpy(), "tensor": lambda c: c, "list": lambda c: c.tolist()}[
        kind
    ]


@pytest.mark.parametrize("kind", ["array", "tensor", "list"])
@pytest.mark.parametrize(
    "into", [("encoder", "decoder"), ("encoder", "prior", "decoder")], ids="+".join
)
def test_everything_a_user_does_takes_conditions_in_any_form(kind, into, model):
    built, batch = model(into=into)
    x, few = batch.x[:6], batch.condition[:6]
    inputs, images = numbers(kind)(few), x.numpy() if kind == "array" else x
    torch.testing.assert_close(built.encode(images, inputs), built.encode(x, few))
    torch.testing.assert_close(
        built.decode(torch.ones(6, 2), inputs), built.decode(torch.ones(6, 2), few)
    )
    torch.testing.assert_close(built.sample(6, inputs, seed=1), built.sample(6, few, seed=1))
    torch.testing.assert_close(
        built.interpolate(images, images, 3, inputs), built.interpolate(x, x, 3, few)
    )
    assert built.reconstruct(images, inputs).shape == x.shape
    assert built.log_likelihood(images, 5, inputs).shape == (6,)
    assert built.decode(np.ones((6, 2)), inputs, mean=False).shape == x.shape


def test_interpolation_keeps_the_condition_along_the_way(model):
    built, batch = model(into=("decoder",))
    x, labels = batch.x[:4], np.array([0, 1, 2, 3])
    path = built.interpolate(x, x, 5, labels)
    assert path.shape == (4, 5, 6)
    torch.testing.assert_close(
        path, built.decode(built.encode(x, labels), labels)[:, None].expand_as(path)
    )


@pytest.mark.parametrize(
    "dtype", [np.float32, np.float64, np.int64], ids=lambda kind: kind.__name__
)
def test_vectors_of_conditions_may_come_in_any_precision(dtype, model):
    """NumPy's own numbers are float64; the weights are float32."""
    built, batch = model(condition=lambda rng, n: rng.integers(0, 3, (n, 2)))
    inputs = batch.condition[:5].numpy().astype(dtype)
    torch.testing.assert_close(
        built.sample(5, inputs, seed=1), built.sample(5, batch.condition[:5], seed=1)
    )
    torch.testing.assert_close(
        built.encode(batch.x[:5], inputs), built.encode(batch.x[:5], batch.condition[:5])
    )


def test_a_mask_may_be_an_array(model):
    built, batch = model(masked=True)
    torch.testing.assert_close(
        built.encode(batch.x.numpy(), batch.condition.numpy(), batch.mask.numpy()),
        built.encode(batch.x, batch.condition, batch.mask),
    )


def test_a_conditional_model_asks_for_its_condition(model):
    built, batch = model()
    for call in (
        lambda: built.sample(2),
        lambda: built.encode(batch.x),
        lambda: built.decode(torch.zeros(1, 2)),
    ):
        with pytest.raises(ValueError, match="this model is conditional: give a condition"):
            call()


CONDITIONS = {
    "labels": lambda rng, n: rng.integers(0, 4, n),
    "whole-numbered vectors": lambda rng, n: rng.integers(-5, 5, (n, 3)),
    "numbers": lambda rng, n: rng.random(n),
    "vectors": lambda rng, n: rng.random((n, 3), np.float32),
    "columns of one": lambda rng, n: rng.integers(0, 4, (n, 1)),
}


@pytest.mark.parametrize("name", CONDITIONS)
def test_a_run_with_conditions_that_are(name, blocks, train, spec):
    run = train(**blocks(condition=CONDITIONS[name]))
    batch = run.data("test").first(4)
    expected = (4,) if name == "labels" else (4, 3) if "vectors" in name else (4, 1)
    assert tuple(batch.condition.shape) == expected
    assert batch.condition.dtype == (torch.int64 if name == "labels" else torch.float32)
    file = open_run(run.path, device="cpu")
    torch.testing.assert_close(
        file.model.encode(batch.x, batch.condition), run.model.encode(batch.x, batch.condition)
    )
    assert file.evaluate() == run.evaluation


@pytest.mark.parametrize("form", SHAPES)
def test_a_conditional_run_with_a_mask(form, blocks, train):
    done = train(**blocks(form, masked=True, into=("encoder", "prior", "decoder")))
    assert (
        done.evaluation["metrics"]["nll"]["value"] < -done.evaluation["metrics"]["elbo"]["value"]
    )
    assert done.data("validation").first(2).mask is not None
    write_report(report_data(done))
    assert (done.directory.pictures / "samples.png").exists() == (form in ("images", "steps"))
    assert done.directory.report.exists()
