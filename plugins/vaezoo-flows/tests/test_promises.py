"""The promises of the components of this plugin."""

from __future__ import annotations

import pytest

from vaezoo import testing
from vaezoo.testing import Setting

SMALL = {"hidden": [6]}
FIT = {**SMALL, "fit_steps": 3}
SETTINGS = {
    "posterior inverse-autoregressive": Setting(options={**SMALL, "context": 4}),
    "posterior neural-spline": Setting(options={**SMALL, "context": 4, "bins": 4}),
    "prior real-nvp": Setting(options=FIT),
    "prior masked-autoregressive": Setting(options=FIT),
    "prior neural-spline": Setting(options={**FIT, "bins": 4}),
    "prior second-stage": Setting(options=FIT),
    "prior vamp": [
        Setting(options={"components": 4}),
        Setting(options={"components": 4, "inputs": "data"}),
    ],
}


@pytest.mark.parametrize("promise", testing.promises("vaezoo-flows", SETTINGS), ids=str)
def test_promise(promise):
    promise.check()
