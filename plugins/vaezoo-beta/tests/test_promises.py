"""The promises of the components of this plugin."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest

from vaezoo import testing
from vaezoo.testing import Setting

FOLDER = tempfile.TemporaryDirectory()  # removed when the process ends


def factors():
    """A file of 600 vectors, which three factors with three values each determine."""
    path = Path(FOLDER.name) / "factors.npz"
    values = np.random.default_rng(0).integers(3, size=(600, 3))
    np.savez(path, x=(values - 1).astype(np.float32), factors=values)
    return {"type": "npz", "path": str(path), "batch_size": 5, "fractions": [0.5, 0.25, 0.25]}


FACTORS = {"data": factors()}
VOTES = {"train": 100, "test": 50, "batch": 8}
SETTINGS = {
    "objective geco": [
        Setting(options={"target": 1.0}),
        Setting(options={"target": 1.0, "constraint": "squared-error", "samples": 3}),
    ],
    "regularizer capacity-kl": Setting(options={"capacity": 1.0}),
    "regularizer factor": Setting(options={"width": 8, "layers": 1}),
    "schedule pi-control": Setting(options={"target": 2.0}),
    "metric mig": Setting(spec=FACTORS),
    "metric sap": Setting(spec=FACTORS),
    "metric modularity": Setting(spec=FACTORS),
    "metric dci": Setting(options={"trees": 3}, spec=FACTORS),
    "metric beta-vae-score": Setting(options=VOTES, spec=FACTORS),
    "metric factor-vae-score": Setting(options=VOTES, spec=FACTORS),
    "dataset sprites": Setting(options={"train": 40}),
}


@pytest.mark.parametrize("promise", testing.promises("vaezoo-beta", SETTINGS), ids=str)
def test_promise(promise):
    promise.check()
