"""The promises of the components of this plugin."""

from __future__ import annotations

import pytest

from vaezoo import testing
from vaezoo.testing import Setting

SETTINGS = {"likelihood autoregressive-bernoulli": Setting(options={"hidden": 7, "shared": 3})}


@pytest.mark.parametrize("promise", testing.promises("vaezoo-autoregressive", SETTINGS), ids=str)
def test_promise(promise):
    promise.check()
