"""The promises of all built-in components."""

from __future__ import annotations

import pytest

from vaezoo import testing
from vaezoo.testing import Setting

MLPS = {"left": {"type": "mlp", "hidden": [8]}, "right": {"type": "mlp", "hidden": [6]}}
SETTINGS = {
    "encoder conv": Setting(options={"channels": [4, 6], "norm": "batch"}),
    "encoder joint": Setting(options={"parts": MLPS}, data="parts"),
    "decoder joint": Setting(options={"parts": MLPS}, data="parts"),
    "likelihood joint": Setting(
        options={"parts": {"left": "bernoulli", "right": "laplace"}}, data="parts"
    ),
    "likelihood normal": [
        Setting(options={"scale": scale}) for scale in (0.5, "learned", "optimal")
    ],
    "prior mixture": Setting(options={"components": 4}),
    "prior gaussian-mixture": [
        Setting(options={"components": 4, "covariance": kind}) for kind in ("full", "diagonal")
    ],
    "objective iwae": [
        Setting(options={"samples": 4, "gradient": kind}) for kind in ("standard", "dreg", "stl")
    ],
    "schedule linear": Setting(options={"steps": 10}),
    "schedule exponential": Setting(options={"rate": 0.1}),
    "schedule cyclical": Setting(options={"steps": 40}),
    "metric nll": Setting(options={"samples": 20}),
    "metric ais": Setting(options={"temperatures": 5, "chains": 2, "leaps": 1, "examples": 0}),
    "metric classification": Setting(
        spec={"model": {"condition": {"type": "label", "into": ["decoder"]}}}
    ),
    "metric anomaly": Setting(options={"anomalous": ["2"]}),
    "dataset digits": Setting(options={"binarize": "dynamic"}),
    "dataset memory": Setting(data="unit"),
}


@pytest.mark.parametrize("promise", testing.promises("vaezoo", SETTINGS), ids=str)
def test_promise(promise):
    promise.check()
