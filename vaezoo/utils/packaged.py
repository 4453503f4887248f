"""Finds files that come with vaezoo: in the installed package, or at the top of a checkout."""

from __future__ import annotations

from pathlib import Path

_INSTALLED = Path(__file__).with_name("packaged_files")
ROOT = _INSTALLED if _INSTALLED.is_dir() else Path(__file__).parents[2]
"""The folder that contains ``registry.yaml`` and ``examples``."""


def examples() -> dict[str, Path]:
    """Returns the files of the example specs, by name."""
    return {path.stem: path for path in sorted((ROOT / "examples").glob("*.yaml"))}
