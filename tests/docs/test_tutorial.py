"""The tutorial of docs/plugins.md: its files are a plugin that works and that prints what the page
shows."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from vaezoo import testing
from vaezoo.cli.main import cli
from vaezoo.plugins import discovery

PAGE = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text("utf-8")


def block(start):
    """The code block that begins with a line."""
    (results,) = [
        text for text in re.findall(r"```\w*\n(.*?)```", PAGE, re.DOTALL) if text.startswith(start)
    ]
    return results


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """The package of the tutorial, as if it were installed."""
    for path in re.findall(r"^# vaezoo-cosine/(vaezoo_cosine/\w+\.py)", PAGE, re.MULTILINE):
        file = tmp_path / path
        file.parent.mkdir(exist_ok=True)
        file.write_text(block(f"# vaezoo-cosine/{path}"), "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    point = importlib.metadata.EntryPoint("cosine", "vaezoo_cosine", "vaezoo")
    installed = discovery._installed()
    monkeypatch.setattr(
        discovery, "_installed", lambda: [*installed, ("vaezoo-cosine", "0.1.0", point)]
    )
    discovery._discovered.cache_clear()
    yield
    discovery._discovered.cache_clear()
    for name in [name for name in sys.modules if name.startswith("vaezoo_cosine")]:
        del sys.modules[name]


def test_the_page_shows_what_the_command_prints(plugin):
    result = CliRunner().invoke(
        cli, ["show", "encoder", "cosine"], obj={"quiet": False, "verbose": False}
    )
    assert result.output.strip() in block("$ pip install")


def test_the_encoder_keeps_the_contracts(plugin):
    spec = yaml.safe_load(block("# my.yaml"))
    del spec["requires"]  # the package is not really installed
    testing.check_spec(spec)


def test_the_encoder_keeps_its_promises(plugin):
    promises = testing.promises("vaezoo-cosine")
    assert len(promises) > 15
    for promise in promises:
        if promise.title != "has an entry point of its name":  # it is not really installed
            promise.check()
