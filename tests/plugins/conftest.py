"""Installs the out-of-tree plugins with pip, each into a folder of its own."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from vaezoo.plugins import discovery

SOURCES = Path(__file__).parent


def pip_install(name, folder):
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation"]
    subprocess.run(
        [*command, "--target", str(folder), str(SOURCES / name)], check=True, capture_output=True
    )
    return folder


@pytest.fixture(scope="session")
def target(tmp_path_factory):
    """Where pip put ``vaezoo-tiny``; on nobody's path yet."""
    return pip_install("vaezoo-tiny", tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="session")
def variants_target(tmp_path_factory):
    """Where pip put ``vaezoo-variants``; on nobody's path yet."""
    return pip_install("vaezoo-variants", tmp_path_factory.mktemp("site"))


def in_this_process(target, monkeypatch):
    monkeypatch.syspath_prepend(str(target))
    importlib.invalidate_caches()
    discovery._discovered.cache_clear()
    yield target
    discovery._discovered.cache_clear()


@pytest.fixture
def installed(target, monkeypatch):
    """``vaezoo-tiny`` in this process."""
    yield from in_this_process(target, monkeypatch)


@pytest.fixture
def variants(variants_target, monkeypatch):
    """``vaezoo-variants`` in this process."""
    yield from in_this_process(variants_target, monkeypatch)
