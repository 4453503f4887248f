"""The promises of the components of this plugin."""

from __future__ import annotations

import pytest

from vaezoo import testing
from vaezoo.testing import Setting

MLP = {"type": "mlp", "hidden": [6]}
SETTINGS = {
    "decoder spectral": Setting(options={"decoder": MLP}),
    "objective miwae": Setting(options={"bounds": 2, "samples": 3}),
    "objective piwae": Setting(options={"bounds": 2, "samples": 3}),
}


@pytest.mark.parametrize("promise", testing.promises("vaezoo-divergences", SETTINGS), ids=str)
def test_promise(promise):
    promise.check()
