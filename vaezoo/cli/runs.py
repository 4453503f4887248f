"""The command ``vaezoo runs``."""

from __future__ import annotations

import fnmatch
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vaezoo.cli.output import echo, json_option, print_json, table

if TYPE_CHECKING:
    from vaezoo.runs.listing import RunSummary

_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60))


def _value(pair: tuple[Any, ...] | None) -> float:
    """A value to sort by; runs without one come last."""
    return -float("inf") if pair is None else pair[1]


_KEYS: dict[str, tuple[Callable[[RunSummary], Any], bool]] = {
    "age": (lambda run: run.created, True),
    "name": (lambda run: (run.name, str(run.path)), False),
    "state": (lambda run: run.state, False),
    "steps": (lambda run: -1 if run.steps is None else run.steps, True),
    "validation": (lambda run: _value(run.validation), True),
    "test": (lambda run: _value(run.metric), True),
    "size": (lambda run: run.size, True),
}
"""What to sort by, and whether the largest comes first."""


@click.command("runs")
@click.argument("folder", default="runs", type=click.Path(path_type=Path))
@click.option(
    "--sort",
    type=click.Choice(list(_KEYS)),
    default="age",
    show_default=True,
    help="The newest first, or the largest number first.",
)
@click.option(
    "--name", metavar="PATTERN", help="List only runs of this name, such as vae-digits or 'vae-*'."
)
@json_option
def runs_command(folder: Path, sort: str, name: str | None, as_json: bool) -> None:
    """List the runs below FOLDER, the newest first.

    States: finished; running (a process uses it); interrupted (vaezoo resume RUN goes on);
    started (it ended before its first checkpoint); damaged; and `no run` for folders that are
    none. `validation` is the best bound of the validation split, `test` the first metric of the
    evaluation.
    """
    from vaezoo.runs.listing import list_runs
    from vaezoo.utils.errors import UsageError
    from vaezoo.utils.paths import is_folder

    if not is_folder(folder):
        raise UsageError(f"{folder}: no such folder")
    runs = [each for each in list_runs(folder) if name is None or _fits(each, name)]
    key, largest_first = _KEYS[sort]
    runs.sort(key=lambda run: str(run.path))
    runs.sort(key=key, reverse=largest_first)
    if as_json:
        print_json({"folder": str(folder), "runs": [run.as_json() for run in runs]})
        return
    if not runs:
        echo(f"no runs below {folder}")
        return
    now = time.time()
    table(
        ("run", "state", "steps", "validation", "evaluation", "size", "age", "problem"),
        [_row(run, now) for run in runs],
    )


def _fits(run: RunSummary, pattern: str) -> bool:
    return fnmatch.fnmatchcase(run.name, pattern)


def _row(run: RunSummary, now: float) -> tuple[str, ...]:
    """The cells of a run."""
    validation = "" if run.validation is None else f"{run.validation[0]} {run.validation[1]:.4g}"
    measured = ""
    if run.metric is not None:
        name, value, error = run.metric
        measured = f"{name} {value:.5g}" + ("" if error is None else f" ± {error:.2g}")
        measured += "" if run.split == "test" else f" ({run.split})"
    steps = "" if run.steps is None else f"{run.steps:,}"
    age = _age(now - run.created)
    size = _size(run.size)
    return (str(run.path), run.state, steps, validation, measured, size, age, run.fault)


def _size(count: int) -> str:
    """A number of bytes in a unit."""
    size = float(count)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"


def _age(seconds: float) -> str:
    """A span of time in its largest unit."""
    for unit, length in _UNITS:
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
