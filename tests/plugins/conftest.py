"""Installs the out-of-tree plugin with pip into a folder of its own."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from vaezoo.plugins import discovery

SOURCE = Path(__file__).parent / "vaezoo-tiny"


@pytest.fixture(scope="session")
def target(tmp_path_factory):
    """Where pip put the plugin; on nobody's path yet."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation"]
    subprocess.run(
        [*command, "--target", str(folder), str(SOURCE)], check=True, capture_output=True
    )
    return folder


@pytest.fixture
def installed(target, monkeypatch):
    """The plugin in this process."""
    monkeypatch.syspath_prepend(str(target))
    importlib.invalidate_caches()
    discovery._discovered.cache_clear()
    yield target
    discovery._discovered.cache_clear()
