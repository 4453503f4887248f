"""The promises of the components of this plugin."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from vaezoo_silhouettes.dataset import CLASSES

from vaezoo import testing
from vaezoo.testing import Setting

FOLDER = tempfile.TemporaryDirectory()  # removed when the process ends
FILE = Path(FOLDER.name) / "silhouettes.npz"
RNG = np.random.default_rng(0)
np.savez(
    FILE,
    **{
        f"{key}_bits": RNG.integers(0, 256, (60, 98), np.uint8) for key in ("train", "val", "test")
    },
    **{f"{key}_labels": 1 + np.arange(60) % CLASSES for key in ("train", "val", "test")},
)
SETTINGS = {"dataset caltech-silhouettes": Setting(options={"path": str(FILE)})}


@pytest.mark.parametrize("promise", testing.promises("vaezoo-silhouettes", SETTINGS), ids=str)
def test_promise(promise):
    promise.check()
