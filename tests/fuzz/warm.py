"""Imports, once, what every command needs; the processes that are forked afterwards share it."""

from __future__ import annotations

import importlib

from tests.fuzz.formats import FORMATS
from tests.fuzz.reading import spec_of

for module in ("cli.main", "cli.running", "runs.start", "runs.dry_run", "runs.report.page"):
    importlib.import_module(f"vaezoo.{module}")
for module in ("torch._dynamo", "mido", "matplotlib.pyplot"):
    importlib.import_module(module)

import vaezoo  # noqa: E402

for kind in ("image-folder", "npz", "sequences", "table", "midi", "text"):
    vaezoo.load_spec(spec_of({"type": kind, "path": "x"}))
assert FORMATS
