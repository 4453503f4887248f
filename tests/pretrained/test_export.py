"""What is exported computes what the model computes, for batches of any size."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import vaezoo
from vaezoo.model.export import export
from vaezoo.utils.errors import UsageError, VaezooError


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    spec = {
        "spec": "vaezoo/v1",
        "name": "labelled",
        "data": {"type": "digits", "batch_size": 64},
        "model": {
            "latent_dim": 3,
            "encoder": {"type": "conv", "channels": [4, 8]},
            "decoder": {"type": "conv", "channels": [8, 4]},
            "likelihood": "bernoulli",
            "condition": {"type": "label"},
        },
        "train": {"epochs": 1},
    }
    return vaezoo.run(spec, out=tmp_path_factory.mktemp("runs")).model


def test_onnx_runs_without_vaezoo(labelled, tmp_path):
    import onnxruntime

    (encoder, _), (decoder, difference) = export(labelled, "onnx", tmp_path)
    assert (
        difference <= 1e-4
        and [path.name for path in tmp_path.iterdir() if path.suffix == ".data"] == []
    )
    z, labels = torch.randn(7, 3), torch.tensor([0, 1, 2, 3, 4, 5, 9])
    session = onnxruntime.InferenceSession(decoder)
    inputs = {
        provided.name: value
        for provided, value in zip(session.get_inputs(), (z.numpy(), labels.numpy()), strict=True)
    }
    np.testing.assert_allclose(
        session.run(None, inputs)[0], labelled.decode(z, labels).numpy(), atol=1e-4
    )
    assert onnxruntime.InferenceSession(encoder).get_inputs()[0].shape[1:] == [1, 8, 8]


def test_torch_export_takes_any_batch(labelled, tmp_path):
    (_, _), (decoder, _) = export(labelled, "torch-export", tmp_path)
    z, labels = torch.randn(4, 3), torch.tensor([1, 1, 2, 2])
    with torch.no_grad():
        again = torch.export.load(decoder).module()(z, labels)
    torch.testing.assert_close(again, labelled.decode(z, labels))


def test_a_continuous_bernoulli_keeps_its_digits(small_run, tmp_path):
    model = vaezoo.open_run(small_run).model
    (_, _), (_, difference) = export(model, "onnx", tmp_path)
    assert difference < 1e-5


def test_a_decoder_that_is_refused_leaves_no_encoder(labelled, tmp_path, monkeypatch):
    result = iter([0.0, 1.0])
    monkeypatch.setattr("vaezoo.model.export._difference", lambda *_: next(result))
    with pytest.raises(VaezooError, match=r"decoder\.pt2: differs from the model by"):
        export(labelled, "torch-export", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_computes_something_else_is_refused(labelled, tmp_path, monkeypatch):
    monkeypatch.setattr("vaezoo.model.export.TOLERANCE", -1.0)
    with pytest.raises(VaezooError, match="differs from the model by"):
        export(labelled, "torch-export", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_models_that_generate_step_by_step_are_refused(labelled, tmp_path, monkeypatch):
    monkeypatch.setattr(type(labelled.latents), "stepwise", True)
    with pytest.raises(UsageError, match="step by step"):
        export(labelled, "onnx", tmp_path)
