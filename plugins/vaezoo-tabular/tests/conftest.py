"""Fixtures of the tests of tables."""

from __future__ import annotations

import pytest


@pytest.fixture
def refuses():
    """Calls a function that must fail with one line that holds every one of the words."""

    def check(kind, call, *words):
        with pytest.raises(kind) as caught:
            call()
        message = str(caught.value)
        assert "\n" not in message
        for word in words:
            assert word in message

    return check
