"""Metrics of sequences, on models with known results."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from vaezoo_vrae.label_accuracy import LabelAccuracy
from vaezoo_vrae.metrics import NextStep, ReconstructionAccuracy, StepBounds, per_step

import vaezoo
from vaezoo.evaluation.anomaly import scores
from vaezoo.runs.setup import prepare_training
from vaezoo.spec.load import load_spec
from vaezoo.utils.devices import pick_device


@pytest.fixture
def labelled(spec):
    """A model that is conditional on a label, and its training data."""
    content = spec(condition={"type": "label", "into": ["encoder", "prior", "decoder"]})
    _, train, (task,) = prepare_training(load_spec(content), pick_device("cpu"))
    return task.model.eval(), train


def test_samples_that_are_real_sequences_of_their_label_are_read_as_it(labelled, monkeypatch):
    model, train = labelled
    everything = train.first(len(train))

    def real(shift):
        def sample(n, condition, *, mean, **options):
            assert not mean, "the real sequences are no means"
            requested = (condition + shift) % 3
            return torch.stack(
                [
                    everything.x[everything.condition == label][i % 8]
                    for i, label in enumerate(requested)
                ]
            )

        return sample

    torch.manual_seed(0)
    monkeypatch.setattr(type(model), "sample", staticmethod(real(0)))
    result = LabelAccuracy(per_class=20)(model, train)
    assert result["label_accuracy_of_real"].value > 0.8
    assert result["label_accuracy"].value > 0.9
    assert result["label_accuracy"].details["accuracy_of_1"] > 0.8
    assert "unlabelled" not in result["label_accuracy_of_real"].details
    hidden = torch.where(torch.arange(len(train)) % 4 == 0, -1, everything.condition)
    some = vaezoo.Loader(replace(train.split, condition=hidden), train.device, 16)
    result = LabelAccuracy(per_class=20)(model, some)["label_accuracy_of_real"]
    unlabelled = int((hidden < 0).sum())
    assert result.details == {"unlabelled": unlabelled} and result.value > 0.7
    assert result.examples == -(-(len(train) - unlabelled) // 5)
    monkeypatch.setattr(type(model), "sample", staticmethod(real(1)))
    assert LabelAccuracy(per_class=20)(model, train)["label_accuracy"].value < 0.34


def test_a_sequence_whose_total_is_not_finite_is_named():
    totals, steps = torch.tensor([2.0, torch.nan, 3.0]), torch.tensor([2, 2, 3])
    assert per_step(totals, steps).note == "the total of example 1 is nan"
    assert per_step(totals[::2], steps[::2]).note == ""


@torch.no_grad()
def test_predictions_that_are_nan_are_no_symbols(spec, monkeypatch):
    _, train, (task,) = prepare_training(load_spec(spec()), pick_device("cpu"))

    def predict(self, model, batch):
        return torch.where((batch.index == 5)[:, None, None], torch.nan, batch.x)

    monkeypatch.setattr(NextStep, "_predict", predict)
    with pytest.raises(vaezoo.VaezooError, match="the prediction for example 5 is nan"):
        NextStep()(task.model.eval(), train)


def test_particles_are_left_out_where_there_is_no_chain(spec):
    _, train, (task,) = prepare_training(
        load_spec(spec(latents={"type": "recurrent", "units": 8})), pick_device("cpu")
    )
    with torch.inference_mode():
        result = StepBounds(samples=2, particles=4)(task.model.eval(), train)
    assert {"elbo_per_step", "iwae_per_step"} <= result.keys() and "fivo_per_step" not in result


def test_bounds_say_what_they_bound(spec, monkeypatch):
    _, train, (task,) = prepare_training(load_spec(spec()), pick_device("cpu"))
    metric, model = StepBounds(samples=2, particles=2), task.model.eval()
    with torch.inference_mode():
        found = {name: estimate.bound for name, estimate in metric(model, train).items()}
        assert found["elbo_per_step"] == "lower bound of log p(x)"
        assert found["iwae_per_step"] == "stochastic lower bound of log p(x)"
        assert found["fivo_per_step"] == "stochastic lower bound of log p(x)"
        assert found["rate_per_step"] == ""
        monkeypatch.setattr(model.latents, "spaces", ())  # then it is log p(x)
        assert metric(model, train)["elbo_per_step"].bound == ""


def test_batches_are_as_small_as_particles_need(spec, monkeypatch):
    _, train, (task,) = prepare_training(load_spec(spec()), pick_device("cpu"))
    requested = []
    size = type(task.model).batch_size
    monkeypatch.setattr(
        type(task.model), "batch_size", lambda self, k=1: requested.append(k) or size(self, k)
    )
    with torch.inference_mode():
        StepBounds(samples=2, particles=64)(task.model.eval(), train)
    assert max(requested) == 64


@torch.no_grad()
@pytest.mark.parametrize(
    "latents", [{"type": "recurrent", "units": 8}, {"type": "chain", "units": 8, "skip": True}]
)
def test_a_prediction_knows_nothing_of_what_it_predicts(spec, composed, latents):
    task, batch = composed(spec(latents=latents))
    later = batch.x.clone()
    later[:, 3:] = 1 - later[:, 3:]
    result = []
    for x in (batch.x, later):
        torch.manual_seed(0)
        result.append(
            NextStep(particles=8)._predict(task.model.eval(), vaezoo.Batch(x, None, batch.mask))
        )
    torch.testing.assert_close(result[0][:, :4], result[1][:, :4])
    assert (result[0][:, 4:] - result[1][:, 4:]).abs().max() > 1e-3


def test_a_label_is_needed(spec):
    _, train, (task,) = prepare_training(load_spec(spec()), pick_device("cpu"))
    with pytest.raises(NotImplementedError, match="conditional on a label"):
        LabelAccuracy()(task.model, train)


def test_reconstruction_accuracy_counts_the_symbols_of_each_line(tmp_path, monkeypatch):
    path = tmp_path / "lines.txt"
    path.write_text("".join("ab"[i % 2] * (2 + i % 4) + "\n" for i in range(60)))
    content = {
        "spec": "vaezoo/v1",
        "name": "text",
        "data": {"type": "text", "path": str(path), "batch_size": 8},
        "model": {
            "latent_dim": 3,
            "encoder": {"type": "recurrent", "units": 8},
            "latents": {"type": "recurrent", "units": 8},
            "decoder": {"type": "steps", "hidden": []},
            "likelihood": "categorical",
        },
    }
    _, train, (task,) = prepare_training(load_spec(content), pick_device("cpu"))
    symbols = task.model.data.symbols

    def always_a(z, condition, steps, extras):
        x = torch.zeros(len(z), steps, len(symbols))
        x[..., symbols.index("a")] = 1
        return x

    monkeypatch.setattr(task.model, "decode", always_a)
    batches = list(train.ordered())
    letters = sum(float(batch.x[..., symbols.index("a")][batch.mask].sum()) for batch in batches)
    steps = sum(int(batch.mask.sum()) for batch in batches)
    result = ReconstructionAccuracy()(task.model, train)["reconstruction_accuracy"]
    assert result.value == pytest.approx(letters / steps)


def test_scores_per_step_do_not_grow_with_length(labelled):
    model, train = labelled
    steps = torch.cat([batch.mask.sum(1) for batch in train.ordered()])
    torch.manual_seed(0)
    complete = scores(model, train, "reconstruction", 2)
    torch.manual_seed(0)
    each = scores(model, train, "reconstruction", 2, per_step=True)
    torch.testing.assert_close(each * steps, complete)
    with pytest.raises(NotImplementedError, match="per_step is defined only for sequences"):
        scores(model, train, "mahalanobis", reference=train, per_step=True)
