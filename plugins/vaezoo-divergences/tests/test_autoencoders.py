"""Regularized autoencoders: terms against their definitions, a decoder of spectral norm 1, and
examples that compose.

Shapes: K samples, B examples, D latent dimensions.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.autograd.functional import jacobian
from torch.distributions import Independent, Normal
from vaezoo_divergences.autoencoders import CodeNorm, DecoderGradient, DecoderNorm

import vaezoo
from vaezoo.distributions import DiagonalNormal, Joint, UnitNormal
from vaezoo.runs.setup import prepare_training
from vaezoo.spec.load import load_spec
from vaezoo.testing import check_spec

EXAMPLES = Path(__file__).parents[1] / "examples"


WIRING = vaezoo.TaskWiring(data=vaezoo.DataSpec((3,)), train_size=9, spaces=(vaezoo.Space((2,)),))


def trace_of(z, batch, px=None, decoder=None, mask=None):
    """A trace of samples ``[K, B, ...]`` that ``px`` maps to p(x|z)."""
    q = DiagonalNormal(torch.zeros(z.shape[-1]), torch.zeros(z.shape[-1]))
    model = SimpleNamespace(likelihood_of=lambda code, context, extras: px(code), decoder=decoder)
    site = vaezoo.Site("z", z, q, UnitNormal(torch.zeros(z.shape[-1])), mask=mask)
    return vaezoo.Trace(model, batch, (site,), z, None)


class Slopes(nn.Module):
    """Three sigmoids of two latent dimensions, the means of a normal."""

    def __init__(self, seed):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.weight = nn.Parameter(torch.randn(2, 3, generator=generator))

    def mean(self, z):
        return (z @ self.weight).sigmoid()

    def forward(self, z):
        return Independent(Normal(self.mean(z), 1.0), 1)

    def squares(self, z):
        """The squared norm of the gradient of each mean, ``[B, 3]``."""
        return torch.stack([jacobian(self.mean, row).square().sum(-1) for row in z])


def test_the_code_norm_is_half_the_square_over_latents_and_the_steps_that_exist():
    z, mask = torch.randn(2, 3, 4, 5), torch.arange(4) < torch.tensor([[1], [3], [4]])
    batch, norm = vaezoo.Batch(torch.zeros(3, 4, 3)), CodeNorm(WIRING)
    trace = trace_of(z, batch, mask=mask)
    steps = [z[:, b, :t].square().sum((1, 2)).mean() / 2 for b, t in enumerate((1, 3, 4))]
    torch.testing.assert_close(norm(trace), torch.stack(steps))
    both = tuple(trace_of(z[:, :, t], batch).sites[0] for t in range(2))
    expected = z[:, :, :2].square().sum((2, 3)).mean(0) / 2
    torch.testing.assert_close(norm(vaezoo.Trace(None, batch, both, z, None)), expected)


def test_the_decoder_norm_is_the_sum_of_all_squared_weights_for_each_example():
    decoder = nn.Linear(2, 3)
    trace = trace_of(torch.zeros(1, 4, 2), vaezoo.Batch(torch.zeros(4, 3)), decoder=decoder)
    expected = (decoder.weight**2).sum() + (decoder.bias**2).sum()
    torch.testing.assert_close(DecoderNorm(WIRING)(trace), expected.expand(4))


def test_the_decoder_gradient_is_the_norm_of_the_jacobian_and_spares_the_encoder():
    torch.manual_seed(0)
    part, z = Slopes(1), torch.randn(4, 2, requires_grad=True)
    trace = trace_of(z.expand(4000, 4, 2), vaezoo.Batch(torch.zeros(4, 3)), part)
    penalty = DecoderGradient(WIRING)(trace)
    expected = part.squares(z.detach()).sum(-1)
    torch.testing.assert_close(penalty, expected, rtol=0.1, atol=0)
    penalty.mean().backward()
    assert z.grad is None and bool(part.weight.grad.any())


def test_the_decoder_gradient_of_several_parts_is_that_of_what_is_observed():
    torch.manual_seed(0)
    left, right, z = Slopes(1), Slopes(2), torch.randn(3, 2)
    mask = torch.tensor([[True, False, True], [True, True, True], [False, False, True]])
    present = torch.tensor([True, True, False])
    batch = vaezoo.Batch(
        {"left": torch.zeros(3, 3), "right": torch.zeros(3, 3)},
        mask={"left": mask},
        present={"right": present},
    )

    def px(code):
        return Joint({"left": left(code), "right": right(code)})

    penalty = DecoderGradient(WIRING)(trace_of(z.expand(8000, 3, 2), batch, px))
    expected = (left.squares(z) * mask).sum(-1) + right.squares(z).sum(-1) * present
    torch.testing.assert_close(penalty, expected, rtol=0.1, atol=0)


class SampledMean(Independent):
    """A normal whose mean is estimated without gradients."""

    @property
    def mean(self):
        return super().mean.detach()


def test_means_without_gradients_are_refused():
    def px(code):
        return SampledMean(Normal(code, 1.0), 1)

    trace = trace_of(torch.randn(1, 4, 3), vaezoo.Batch(torch.zeros(4, 3)), px)
    with pytest.raises(ValueError, match="no gradient with this likelihood"):
        DecoderGradient(WIRING)(trace)


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
