"""Regularized autoencoders: a decoder of spectral norm 1, and examples that compose."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import vaezoo
from vaezoo.runs.setup import prepare_training
from vaezoo.spec.load import load_spec
from vaezoo.testing import check_spec

EXAMPLES = Path(__file__).parents[1] / "examples"


def spec(decoder):
    return {
        "spec": "vaezoo/v2",
        "name": "spectral",
        "data": {"type": "digits", "binarize": "dynamic", "batch_size": 32},
        "model": {
            "latent_dim": 3,
            "encoder": {"type": "mlp", "hidden": [16]},
            "decoder": {"type": "spectral", "decoder": decoder},
            "posterior": "deterministic",
            "likelihood": "bernoulli",
        },
        "regularizers": [{"type": "code-norm", "weight": 0.02}],
        "train": {
            "steps": 40,
            "device": "cpu",
            "select": "distortion",
            "optimizer": {"type": "adam", "lr": 0.1},
        },
        "evaluate": ["distortion"],
    }


MLP = {"type": "mlp", "hidden": [12]}
CONV = {"type": "conv", "channels": [4], "hidden": 0}


@pytest.mark.parametrize("decoder", [MLP, CONV], ids=["mlp", "conv"])
def test_a_spectral_decoder_keeps_the_contracts(decoder):
    check_spec(spec(decoder))


def test_layers_of_a_spectral_decoder_stay_at_norm_one(tmp_path, monkeypatch):
    monkeypatch.setattr("vaezoo.runs.report.page.write_report", lambda run: None)
    run = vaezoo.run(spec(MLP), out=tmp_path)
    again = vaezoo.open_run(run.path, device="cpu")
    layers = [m for m in again.model.decoder.modules() if isinstance(m, torch.nn.Linear)]
    assert len(layers) == 2
    with torch.no_grad():
        for layer in layers:
            norm = torch.linalg.matrix_norm(layer.weight, 2)
            assert float(norm) == pytest.approx(1.0, abs=0.1)
            original = layer.parametrizations.weight.original
            assert float(torch.linalg.matrix_norm(original, 2)) > 1.5, "training moved it"


class Constant(vaezoo.Decoder):
    """A decoder that has no layer."""

    def __init__(self, wiring, /):
        super().__init__()
        self.value = torch.nn.Parameter(torch.zeros(wiring.out_shape))

    def forward(self, code):
        return self.value.expand(len(code), *self.value.shape)


def test_a_decoder_without_layers_is_refused():
    vaezoo.register("decoder", "constant", Constant)
    with pytest.raises(vaezoo.SpecError, match="no linear or convolutional layer"):
        check_spec(spec("constant"))


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_examples_compose(example):
    prepare_training(load_spec(example, ["train.device=cpu"]), torch.device("cpu"))
