"""MMD and sliced Wasserstein distances against loops, closed forms and their expectations.

Shapes: M examples, D latent dimensions.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Normal
from vaezoo_divergences.mmd import squared_mmd
from vaezoo_divergences.sliced import sliced_distance

import vaezoo
from vaezoo.testing import check_spec

IMQ = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


def samples(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def kernel_of(kernel, scales, sigma):
    """The kernel of two vectors, as it is written in its definition."""

    def value(x, y):
        squared, unit = float(((x - y) ** 2).sum()), 2 * len(x) * sigma**2
        if kernel == "imq":
            return sum(s * unit / (s * unit + squared) for s in scales)
        return sum(math.exp(-squared / (s * unit)) for s in scales)

    return value


@pytest.mark.parametrize(
    ("kernel", "scales", "sigma"),
    [("imq", IMQ, 1.0), ("rbf", (1.0,), 0.7), ("rbf", (0.5, 2.0), 2.0)],
)
def test_the_estimate_is_that_of_a_loop_over_pairs(kernel, scales, sigma):
    x, y = samples(6, 3), 0.5 + 2 * samples(6, 3, seed=1)
    k, pairs = kernel_of(kernel, scales, sigma), range(6)
    within = sum(k(a[i], a[j]) for a in (x, y) for i in pairs for j in pairs if i != j)
    between = sum(k(x[i], y[j]) for i in pairs for j in pairs)
    expected = within / 30 - 2 * between / 36
    assert float(squared_mmd(x, y, kernel, scales, sigma)) == pytest.approx(expected, rel=1e-9)


def test_the_estimate_is_unbiased():
    """Of N(0, I) and N(m, I), the rbf kernel has a closed form of MMD²."""
    dims, sigma, shift = 2, 1.0, torch.tensor([1.0, -0.5], dtype=torch.float64)
    width = dims * sigma**2  # the kernel is exp(-|x - y|² / (2 width))
    scale = (width / (width + 2)) ** (dims / 2)
    expected = 2 * scale * (1 - math.exp(-float(shift.square().sum()) / (2 * (width + 2))))
    x, y = samples(4000, 8, dims), shift + samples(4000, 8, dims, seed=1)
    estimates = squared_mmd(x, y, "rbf", (1.0,), sigma)
    error = float(estimates.std()) / math.sqrt(len(estimates))
    assert abs(float(estimates.mean()) - expected) < 4 * error
    same = squared_mmd(x, samples(4000, 8, dims, seed=2), "imq", IMQ, sigma)
    assert abs(float(same.mean())) < 4 * float(same.std()) / math.sqrt(len(same))
    assert bool((same < 0).any()), "an unbiased estimate of 0 is sometimes negative"


def test_one_vector_says_nothing():
    assert float(squared_mmd(samples(1, 3), samples(1, 3, seed=1), "imq", IMQ, 1.0)) == 0


def test_the_sliced_distance_of_shifted_points_is_that_of_the_shift():
    x, shift = samples(50, 3), torch.tensor([1.0, 2.0, -2.0], dtype=torch.float64)
    directions = torch.nn.functional.normalize(samples(20_000, 3, seed=1), dim=-1)
    along = sliced_distance(x, x.flip(0) + shift, directions)
    assert float(along) == pytest.approx(float(shift.square().sum()) / 3, rel=0.03)
    assert float(sliced_distance(x, x.flip(0), directions)) < 1e-30


def test_the_sliced_distance_of_normals_nears_the_closed_form():
    x, y = samples(4000, 3), 2.0 * samples(4000, 3, seed=1)
    directions = torch.nn.functional.normalize(samples(50, 3, seed=2), dim=-1)
    assert float(sliced_distance(x, y, directions)) == pytest.approx(1.0, abs=0.08)  # (2 - 1)²


def spec(regularizer, **model):
    return {
        "spec": "vaezoo/v2",
        "name": "divergences",
        "data": {"type": "digits", "batch_size": 24},
        "model": {
            "latent_dim": 3,
            "encoder": {"type": "mlp", "hidden": [16]},
            "decoder": {"type": "mlp", "hidden": [16]},
            "likelihood": {"type": "normal", "scale": 0.3},
            **model,
        },
        "regularizers": [regularizer],
        "train": {
            "steps": 150,
            "device": "cpu",
            "select": "last",
            "optimizer": {"type": "adam", "lr": 3e-3},
        },
        "evaluate": ["distortion"],
    }


@pytest.mark.parametrize("name", ["mmd", "sliced-wasserstein"])
def test_codes_come_near_the_prior(name, tmp_path, monkeypatch):
    monkeypatch.setattr("vaezoo.runs.report.page.write_report", lambda run: None)
    spreads = []
    for weight in (0.0, 100.0):
        blocks = spec({"type": name, "weight": weight}, posterior="deterministic")
        run = vaezoo.run(blocks, out=tmp_path)
        codes = run.model.encode(run.data().first(200).x)
        spreads.append(abs(float(codes.std(0).log().mean())) + float(codes.mean(0).abs().mean()))
    assert spreads[1] < 0.5 * spreads[0] and spreads[1] < 0.6


@pytest.mark.parametrize("name", ["mmd", "sliced-wasserstein"])
def test_regularizers_keep_the_contracts(name):
    for model in ({}, {"posterior": "deterministic"}, {"condition": {"type": "label"}}):
        check_spec(spec(name, **model))
    mixture = spec(name, prior={"type": "mixture", "components": 4})
    check_spec({**mixture, "regularizers": [name, "kl"]})  # which trains the prior
    with pytest.raises(vaezoo.VaezooError, match="accumulate"):
        check_spec(spec(name), ["train.accumulate=2"])


def test_a_prior_with_gradients_is_trained_by_the_distance():
    from vaezoo.runs.setup import prepare_training
    from vaezoo.spec.load import load_spec

    class Shifted(vaezoo.Prior):
        def __init__(self):
            super().__init__()
            self.mean = torch.nn.Parameter(torch.ones(3))

        def forward(self, context, model):
            return torch.distributions.Independent(Normal(self.mean, 1.0), 1)

    _, train, (task,) = prepare_training(load_spec(spec("mmd")), torch.device("cpu"))
    task.model.latents.prior = Shifted()
    task(train.first(24))[0].mean().backward()
    assert float(task.model.latents.prior.mean.grad.abs().sum()) > 0
