"""The promises of the components of this plugin."""

from __future__ import annotations

import pytest

from vaezoo import testing
from vaezoo.testing import Setting

SETTINGS = {
    "metric total-correlation": Setting(),
}


@pytest.mark.parametrize("promise", testing.promises("vaezoo-probes", SETTINGS), ids=str)
def test_promise(promise):
    promise.check()
