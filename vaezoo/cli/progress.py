"""Progress of training: a bar on a terminal; elsewhere about ten lines, however long it is."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import click

from vaezoo.cli.bottom_line import BottomLine, can_animate
from vaezoo.cli.output import print_to_stderr
from vaezoo.components.callbacks import Callback

_LINES = 10
"""How many lines training prints outside of a terminal, besides that of the first validation."""
_MAX_PLAIN = 1e6
"""Numbers from this size on are written with an exponent."""


class PlainProgress(Callback):
    """Prints the first validation, and a line whenever another tenth of the steps is done."""

    def __init__(self) -> None:
        self.train: Mapping[str, Any] | None = None
        self.validation: Mapping[str, Any] | None = None
        self.tenths, self.is_due = 0, False

    def log(self, record: Mapping[str, Any]) -> None:
        """Receives a record of ``metrics.jsonl``."""
        if self.is_due and self.train and record["step"] > self.train["step"]:
            self._print(self.train)  # no validation belongs to the same step
        tenths = _LINES * record["step"] // record["steps"]
        self.is_due = self.is_due or tenths > self.tenths
        self.tenths = tenths
        if record["split"] == "train":
            self.train = record
            return
        is_first, self.validation = self.validation is None, record
        if is_first or self.is_due:
            self._print(record)

    def close(self) -> None:
        """Prints the line that is due, if there is one."""
        if self.is_due and self.train:
            self._print(self.train)

    def _print(self, position: Mapping[str, Any]) -> None:
        self.is_due = False
        print_to_stderr(format_line(position, self.train, self.validation))


class TerminalProgress(Callback):
    """Shows a bar during training, and otherwise a spinner, at the bottom of the terminal."""

    def __init__(self) -> None:
        self.line = BottomLine()
        self.train: Mapping[str, Any] | None = None
        self.validation: Mapping[str, Any] | None = None

    def start(self, step: int) -> None:
        """Replaces the spinner by a bar; how long it is says the first record."""
        self.train, self.validation = None, None
        self.line.show_bar()

    def log(self, record: Mapping[str, Any]) -> None:
        """Updates the bar with a record of ``metrics.jsonl``."""
        if record["split"] == "validation":
            self.validation = record
        else:
            self.train = record
        texts = describe_training(record, self.train, self.validation)
        self.line.update(completed=record["step"], total=record["steps"], texts=texts)

    def close(self) -> None:
        """Replaces the bar by a spinner: what follows training may last, too."""
        self.line.show_spinner("working")


def describe_training(
    position: Mapping[str, Any],
    train: Mapping[str, Any] | None,
    validation: Mapping[str, Any] | None,
) -> list[str]:
    """Texts about the state of a training, from the longest to the shortest.

    Args:
        position: the latest record.
        train, validation: the latest record of each split.
    """
    names = [position["stage"]] if position.get("stage") else []
    epoch = f"epoch {position['epoch']:.1f}"
    now = "{} {}".format(*headline(train)) if train else ""
    value = headline(validation)[1] if validation else ""
    is_best = " best" if validation and validation["best"] else ""
    validated, short = (f"{word} {value}" if value else "" for word in ("validation", "val"))
    speed = f"{train['examples_per_second']:,.0f} examples/s" if train else ""
    metrics = format_metrics(train) if train else ""
    choices = [
        [*names, epoch, metrics, validated + is_best, speed],
        [*names, epoch, now, validated + is_best],
        [*names, epoch, now, short],
        [epoch, now, short],
        [now, short],
        [now],
    ]
    return ["  ".join(filter(None, choice)) for choice in choices]


def headline(record: Mapping[str, Any]) -> tuple[str, str]:
    """The name and the value of the ELBO in a record, or of what is defined in its place."""
    name = next(name for name in ("elbo", "distortion", "bound", "loss") if name in record)
    return name, _format_number(record[name])


def format_line(
    position: Mapping[str, Any],
    train: Mapping[str, Any] | None,
    validation: Mapping[str, Any] | None,
) -> str:
    """The state of a training as one line of text; see ``describe_training``."""
    percentage = 100 * position["step"] // position["steps"]
    parts = [f"step {position['step']} of {position['steps']} ({percentage}%)"]
    parts += [f"stage {position['stage']}"] if "stage" in position else []
    parts += [f"epoch {position['epoch']:.1f}"]
    parts += [format_metrics(train)] if train else []
    if validation:
        is_best = " best" if validation["best"] else ""
        parts += ["validation {} {}".format(*headline(validation)) + is_best]
    return "  ".join(parts)


def format_metrics(record: Mapping[str, Any]) -> str:
    """The ELBO, rate and distortion of a record as far as they are defined, or else its loss."""
    names: tuple[str, ...] = ("elbo", "rate", "distortion")
    if not record.keys() & {*names}:  # a stage that trains a prior alone
        names = ("loss", "bound")
    return "  ".join(f"{name} {_format_number(record[name])}" for name in names if name in record)


def _format_number(value: float) -> str:
    return f"{value:.2f}" if abs(value) < _MAX_PLAIN else f"{value:.3e}"


@contextlib.contextmanager
def training_progress(ctx: click.Context) -> Iterator[list[Callback]]:
    """Callbacks that show the progress of training within a block.

    Args:
        ctx: the context of the command, which may be quiet.
    """
    if ctx.obj["quiet"]:
        yield []
    elif can_animate():
        progress = TerminalProgress()
        with progress.line.visible():
            yield [progress]
    else:
        yield [PlainProgress()]


@contextlib.contextmanager
def suite_progress(ctx: click.Context) -> Iterator[Callable[[float, int, Sequence[str]], None]]:
    """A function that shows how many runs are done, within a block; outside of a terminal nothing.

    Args:
        ctx: the context of the command, which may be quiet.
    """
    if ctx.obj["quiet"] or not can_animate():
        yield lambda done, total, running: None
        return
    line = BottomLine()
    line.show_bar()

    def show(done: float, total: int, running: Sequence[str]) -> None:
        count = f"{int(done)} of {total} runs"
        texts = ["  ".join([count, *running[:shown]]) for shown in range(len(running), -1, -1)]
        line.update(completed=done, total=total, texts=[*texts, ""])

    with line.visible():
        yield show
