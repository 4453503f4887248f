"""Memory is traced while the fuzzers of a module run, and no longer."""

from __future__ import annotations

import tracemalloc

import pytest


@pytest.fixture(autouse=True, scope="module")
def _stop_tracing():
    yield
    tracemalloc.stop()
