"""Progress of a training run: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any

from vaezoo.cli.output import print_to_stderr
from vaezoo.components.callbacks import Callback

_SECONDS = 10.0


class PlainProgress(Callback):
    """A line for each validation, and one every ten seconds in between."""

    def __init__(self) -> None:
        self.spoken = 0.0

    def log(self, record: Mapping[str, Any]) -> None:
        """Says how far training is."""
        if record["split"] == "train" and time.monotonic() - self.spoken < _SECONDS:
            return
        self.spoken = time.monotonic()
        print_to_stderr(line(record))


class BarProgress(Callback):
    """A bar with the latest figures beside it."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self.best = ""
        self.bar = Progress(
            TextColumn("{task.percentage:>3.0f}%"),
            BarColumn(bar_width=30),
            TimeRemainingColumn(),
            TextColumn("{task.description}"),
            console=Console(stderr=True),
        )
        self.task: Any = None

    def log(self, record: Mapping[str, Any]) -> None:
        """Moves the bar, which appears with the first record."""
        if self.task is None:
            self.bar.start()
            self.task = self.bar.add_task("", total=record["steps"])
        if record["split"] == "validation":
            self.best = f"  validation {figures(record, 2)}" + (" (best)" if record["best"] else "")
            return
        speed = f"{record['examples_per_second']:,.0f} examples/s"
        text = f"epoch {record['epoch']:.1f}  {figures(record, 2)}  {speed}{self.best}"
        self.bar.update(self.task, completed=record["step"], description=text)

    def close(self) -> None:
        """Leaves the terminal in order."""
        self.bar.stop()


def line(record: Mapping[str, Any]) -> str:
    """One record in words."""
    start = f"step {record['step']}  epoch {record['epoch']:.2f}  {record['split']}"
    if record["split"] == "validation":
        return f"{start}  {figures(record, 3)}{'  best' if record['best'] else ''}"
    return f"{start}  {figures(record, 3)}  {record['examples_per_second']:,.0f} examples/s"


def figures(record: Mapping[str, Any], digits: int) -> str:
    """The figures of a record that are defined for its model."""
    return "  ".join(f"{k} {record[k]:.{digits}f}" for k in ("elbo", "rate", "distortion") if k in record)


def progress() -> PlainProgress | BarProgress:
    """What suits where stderr goes."""
    return BarProgress() if sys.stderr.isatty() else PlainProgress()
