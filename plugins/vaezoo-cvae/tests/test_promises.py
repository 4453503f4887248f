"""The promises of the components of this plugin."""

from __future__ import annotations

import pytest
import torch

import vaezoo
from vaezoo import testing
from vaezoo.testing import Setting

DIGITS = vaezoo.Batch(
    torch.rand(400, 1, 28, 28, generator=torch.Generator().manual_seed(0)), torch.arange(400) % 10
)
LABEL = {"model": {"condition": {"type": "label", "into": ["encoder", "decoder"]}}}
SETTINGS = {
    "conditioner attributes": Setting(data="attributes"),
    "conditioner image": Setting(data="pictures"),
    "metric conditional-accuracy": Setting(
        options={"per_class": 4, "draws": 2},
        spec={**LABEL, "data": {"fractions": [0.2, 0.2, 0.6]}},
        data=DIGITS,
    ),
    "metric sample-recall": Setting(options={"samples": 30}, data=DIGITS),
}


@pytest.mark.parametrize("promise", testing.promises("vaezoo-cvae", SETTINGS), ids=str)
def test_promise(promise):
    promise.check()
