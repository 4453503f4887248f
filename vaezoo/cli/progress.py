"""Progress of a training run: a bar on a terminal, otherwise plain lines."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any

from vaezoo.cli.output import print_to_stderr
from vaezoo.components.callbacks import Callback

_SECONDS_BETWEEN_LINES = 10.0


class PlainProgress(Callback):
    """Prints a line for each validation, and a line every ten seconds in between."""

    def __init__(self) -> None:
        self.last_line_time = 0.0

    def log(self, record: Mapping[str, Any]) -> None:
        """Prints a record of ``metrics.jsonl``."""
        is_early = time.monotonic() - self.last_line_time < _SECONDS_BETWEEN_LINES
        if record["split"] == "train" and is_early:
            return
        self.last_line_time = time.monotonic()
        print_to_stderr(format_record(record))


class BarProgress(Callback):
    """Shows a progress bar and the latest metrics."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self.validation = ""
        self.bar = Progress(
            TextColumn("{task.percentage:>3.0f}%"),
            BarColumn(bar_width=30),
            TimeRemainingColumn(),
            TextColumn("{task.description}"),
            console=Console(stderr=True),
        )
        self.task: Any = None

    def log(self, record: Mapping[str, Any]) -> None:
        """Updates the bar with a record of ``metrics.jsonl``; the first record starts the bar."""
        if self.task is None:
            self.bar.start()
            self.task = self.bar.add_task("", total=record["steps"])
        if record["split"] == "validation":
            is_best = " (best)" if record["best"] else ""
            self.validation = f"  validation {format_metrics(record, 2)}{is_best}"
            return
        speed = f"{record['examples_per_second']:,.0f} examples/s"
        text = (
            f"epoch {record['epoch']:.1f}  {format_metrics(record, 2)}  {speed}{self.validation}"
        )
        if "stage" in record:
            text = f"{record['stage']}  {text}"
        self.bar.update(
            self.task, completed=record["step"], total=record["steps"], description=text
        )

    def close(self) -> None:
        """Stops the bar and restores the terminal."""
        self.bar.stop()


def format_record(record: Mapping[str, Any]) -> str:
    """A record of ``metrics.jsonl`` as one line of text."""
    stage = f"{record['stage']}  " if "stage" in record else ""
    start = f"{stage}step {record['step']}  epoch {record['epoch']:.2f}  {record['split']}"
    if record["split"] == "validation":
        return f"{start}  {format_metrics(record, 3)}{'  best' if record['best'] else ''}"
    speed = f"{record['examples_per_second']:,.0f} examples/s"
    return f"{start}  {format_metrics(record, 3)}  {speed}"


def format_metrics(record: Mapping[str, Any], digits: int) -> str:
    """The ELBO, rate and distortion of a record as far as they are defined, or else its loss."""
    names: tuple[str, ...] = ("elbo", "rate", "distortion")
    if not record.keys() & {*names}:  # a stage that trains a prior alone
        names = ("loss", "bound")
    return "  ".join(f"{name} {record[name]:.{digits}f}" for name in names if name in record)


def progress() -> PlainProgress | BarProgress:
    """A bar if stderr is a terminal, otherwise plain lines."""
    return BarProgress() if sys.stderr.isatty() else PlainProgress()
