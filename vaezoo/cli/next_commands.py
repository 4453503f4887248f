"""The commands that a finished run is followed by, for its model and its data."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from vaezoo.runs.file_formats import usual_suffix
from vaezoo.utils.paths import shell_word

if TYPE_CHECKING:
    from vaezoo.model.model import Model
    from vaezoo.runs.run import Run

_MAX_CLASSES = 10
"""Samples of all classes are proposed up to this number of classes."""


def next_commands(run: Run) -> list[str]:
    """Commands that sample from the model of a run, score examples and evaluate it.

    Each is one line that a shell takes as it is, whatever the path of the run.
    """
    path, model = shell_word(run.path), run.model
    out = f"--out samples.{usual_suffix(model.data)}"
    return [
        f"vaezoo sample {path} {_options(model)} {out}",
        f"vaezoo score {path} test --out scores.csv",
        f"vaezoo evaluate {path} validation",
    ]


def _options(model: Model) -> str:
    """How many samples, and of which conditions if the model needs them."""
    if model.conditioner is None:
        return "-n 16"
    try:
        model.context(None, 1)
        return "-n 16"
    except ValueError:  # it does not generate without a condition
        classes = model.trained_classes
    if not classes:
        return "--condition data -n 16"
    if len(classes) <= _MAX_CLASSES:
        return "--condition all -n 4"
    return f"--condition {shlex.quote(classes[0])} -n 16"
