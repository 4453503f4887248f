"""A small file of music-like sequences, and models composed on it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vaezoo.distributions import DiagonalNormal, LogScaleLimits
from vaezoo.runs.setup import prepare_training
from vaezoo.spec.load import load_spec
from vaezoo.utils.devices import pick_device

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def ragged_file(tmp_path_factory):
    """60 binary sequences of 4 to 12 steps and 6 columns; the label is the column of ones."""
    generator = np.random.default_rng(0)
    counts = generator.integers(4, 13, 60)
    labels = generator.integers(0, 3, 60)
    rows = [
        (generator.random((count, 6)) < 0.3) | (np.arange(6) == label)
        for count, label in zip(counts, labels)
    ]
    path = tmp_path_factory.mktemp("ragged") / "ragged.npz"
    np.savez(path, x=np.concatenate(rows).astype(np.uint8), lengths=counts, condition=labels)
    return path


@pytest.fixture
def spec(ragged_file):
    """A spec of a small VRNN; ``spec(latents={...}, encoder={...})`` replaces parts of it."""

    def make(**parts):
        model = {
            "latent_dim": 4,
            "encoder": {"type": "recurrent", "hidden": [8], "units": 8, "direction": "backward"},
            "latents": {"type": "chain", "units": 8, "hidden": 8},
            "decoder": {"type": "steps", "hidden": [8]},
            "likelihood": "bernoulli",
        }
        return {
            "spec": "vaezoo/v2",
            "name": "sequences",
            "data": {"type": "sequences", "path": str(ragged_file), "batch_size": 8},
            "model": model | parts,
        }

    return make


@pytest.fixture
def composed():
    """From a spec to its task, with noise added to every weight, and one training batch."""

    def make(spec):
        torch.manual_seed(0)
        _, train, (task,) = prepare_training(load_spec(spec), pick_device("cpu"))
        with torch.no_grad():
            for parameter in task.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
        return task, train.first(8)

    return make


@pytest.fixture
def pin_latents():
    """Pins every posterior and prior at 0.1, so that only the handling of steps is compared."""
    return _pin_latents


class _Pinned(torch.nn.Module):
    """A prior with a single value."""

    conditional = False

    def __init__(self, width):
        super().__init__()
        self.width, self.log_scale = width, -40.0

    def forward(self, context, model):
        return DiagonalNormal(
            torch.full((self.width,), 0.1), torch.full((self.width,), self.log_scale)
        )


def _pin_latents(latents):
    """Pins every posterior and prior at 0.1, so that only the handling of steps is compared."""
    for level in getattr(latents, "levels", []):
        _pin(level.p_out)
        _pin_posterior(level.q_out)
        level.prior_limits = LogScaleLimits()  # none
    if latents.sequence_latent.posterior is not None:
        _pin_posterior(latents.sequence_latent.posterior)
        latents.sequence_latent.prior = _Pinned(latents.sequence_latent.latent_dim)


def _pin_posterior(posterior):
    _pin(posterior.linear)
    posterior.limit = LogScaleLimits()  # none


def _pin(linear):
    with torch.no_grad():
        linear.weight.zero_()
        linear.bias[: len(linear.bias) // 2] = 0.1
        linear.bias[len(linear.bias) // 2 :] = -80.0
