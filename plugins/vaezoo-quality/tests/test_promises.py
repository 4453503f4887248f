"""The promises of the components of this plugin."""

from __future__ import annotations

import pytest
import torch

import vaezoo
from vaezoo import testing
from vaezoo.testing import Setting

DIGITS = vaezoo.Batch(torch.rand(260, 1, 28, 28, generator=torch.Generator().manual_seed(0)))
SMALL = {"samples": 15}
SETTINGS = {
    "metric frechet-distance": Setting(options=SMALL, data=DIGITS),
    "metric kernel-distance": Setting(options=SMALL, data=DIGITS),
    "metric prdc": Setting(options={"samples": 60}, data=DIGITS),
    "metric reconstruction-quality": [Setting(data="grey"), Setting(data=DIGITS)],
}


@pytest.mark.parametrize("promise", testing.promises("vaezoo-quality", SETTINGS), ids=str)
def test_promise(promise):
    promise.check()
