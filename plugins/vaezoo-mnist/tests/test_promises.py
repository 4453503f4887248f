"""The promises of the components of this plugin."""

from __future__ import annotations

import pytest

from vaezoo import testing

SETTINGS = {}


@pytest.mark.parametrize("promise", testing.promises("vaezoo-mnist", SETTINGS), ids=str)
def test_promise(promise):
    promise.check()
