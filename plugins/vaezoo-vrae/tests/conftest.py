"""A small file of music-like sequences, and models composed on it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vaezoo.environment import pick_device
from vaezoo.runs import prepare
from vaezoo.spec.load import load

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def ragged_file(tmp_path_factory):
    """60 binary sequences of 4 to 12 steps with 6 columns, labelled by the column that sounds throughout."""
    generator = np.random.default_rng(0)
    counts = generator.integers(4, 13, 60)
    labels = generator.integers(0, 3, 60)
    rows = [(generator.random((count, 6)) < 0.3) | (np.arange(6) == label) for count, label in zip(counts, labels)]
    path = tmp_path_factory.mktemp("ragged") / "ragged.npz"
    np.savez(path, x=np.concatenate(rows).astype(np.uint8), lengths=counts, condition=labels)
    return path


@pytest.fixture
def spec(ragged_file):
    """A spec of a small VRNN; ``spec(latents={...}, encoder={...})`` changes parts of its model."""

    def make(**parts):
        model = {
            "latent_dim": 4,
            "encoder": {"type": "recurrent", "hidden": [8], "units": 8, "direction": "backward"},
            "latents": {"type": "chain", "units": 8, "hidden": 8},
            "decoder": {"type": "steps", "hidden": [8]},
            "likelihood": "bernoulli",
        }
        return {
            "spec": "vaezoo/v1",
            "name": "sequences",
            "data": {"type": "sequences", "path": str(ragged_file), "batch_size": 8},
            "model": model | parts,
        }

    return make


@pytest.fixture
def composed():
    """From a spec to its task, with every weight shaken, and one training batch."""

    def make(spec):
        _, train, task = prepare(load(spec), pick_device("cpu"))
        with torch.no_grad():
            for parameter in task.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
        return task, train.first(8)

    return make
