"""What a command shows while it works: one line at the bottom of a terminal, or plain lines.

On a terminal the line is drawn by rich: a bar during training, a spinner otherwise. It is erased
before anything else is printed below it, so that nothing of it is left on the screen. Elsewhere,
such as in a pipe, a log file or a CI job, training prints about ten lines however long it is.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from vaezoo.cli.output import bottom_line, print_to_stderr
from vaezoo.components.callbacks import Callback

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

_LINES = 10
"""How many lines training prints outside of a terminal, besides that of the first validation."""
_MAX_PLAIN = 1e6
"""Numbers from this size on are written with an exponent."""
_REFRESHES_PER_SECOND = 4


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
    """Shows a bar during training, and otherwise a spinner, at the bottom of the terminal.

    Args:
        runs: how many runs will follow one another, if there are several.
    """

    def __init__(self, runs: int = 1) -> None:
        self.line, self.runs, self.started = BottomLine(), runs, 0
        self.train: Mapping[str, Any] | None = None
        self.validation: Mapping[str, Any] | None = None

    def start(self, step: int) -> None:
        """Replaces the spinner by a bar; how long it is says the first record."""
        self.started, self.train, self.validation = self.started + 1, None, None
        self.line.show_bar()

    def log(self, record: Mapping[str, Any]) -> None:
        """Updates the bar with a record of ``metrics.jsonl``."""
        if record["split"] == "validation":
            self.validation = record
        else:
            self.train = record
        run = f"run {self.started} of {self.runs}" if self.runs > 1 else ""
        texts = describe_training(run, record, self.train, self.validation)
        self.line.update(completed=record["step"], total=record["steps"], texts=texts)

    def close(self) -> None:
        """Replaces the bar by a spinner: what follows training may last, too."""
        self.line.show_spinner("working")


class BottomLine:
    """The line at the bottom of a terminal. Lines that are printed meanwhile appear above it."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self.console = Console(stderr=True, highlight=False)
        self.shown = self._spinner("working")
        self.live = Live(
            console=self.console,
            get_renderable=lambda: self.shown.get_renderable(),
            refresh_per_second=_REFRESHES_PER_SECOND,
            transient=True,
            redirect_stdout=sys.stdout.isatty(),
        )

    @contextlib.contextmanager
    def visible(self) -> Iterator[None]:
        """Shows the line for a block, and erases it afterwards, whatever happens."""
        with contextlib.suppress(OSError):  # the terminal is gone
            self.live.start(refresh=True)
        try:
            with bottom_line(self.print_above):
                yield
        finally:
            with contextlib.suppress(OSError):
                self.live.stop()

    def print_above(self, text: str) -> None:
        """Prints a line above; the terminal breaks it, so that it can be copied in one piece."""
        from rich.text import Text

        self.console.print(Text(text), soft_wrap=True)

    def show_spinner(self, text: str) -> None:
        """Shows a text and since when it is shown."""
        self.shown = self._spinner(text)

    def show_bar(self) -> None:
        """Shows a bar; ``update`` says how far it is."""
        self.shown = _training_bar(self.console)

    def update(self, **fields: Any) -> None:
        """Changes the bar."""
        self.shown.update(self.shown.task_ids[0], **fields)

    def _spinner(self, text: str) -> Progress:
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        columns = (
            SpinnerColumn("line", style="none"),
            TextColumn("{task.description}", markup=False),
            TimeElapsedColumn(),
        )
        shown = Progress(*columns, console=self.console)
        shown.add_task(text, total=None)
        return shown


def _training_bar(console: Console) -> Progress:
    """A bar that leaves its texts out where the terminal is too narrow for them."""
    from rich.progress import BarColumn, Progress, ProgressColumn, Task, TimeRemainingColumn
    from rich.text import Text

    least_bar, percent, remaining = 8, 5, 12  # columns, with the space behind each

    class Remaining(TimeRemainingColumn):
        """The estimated time to the end of training."""

        def render(self, task: Task) -> Text:
            if console.width < least_bar + percent + remaining:
                return Text()
            return Text("ETA ") + Text(super().render(task).plain)

    class Percent(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.percentage:>3.0f}%")

    class Texts(ProgressColumn):
        """The longest of the texts that fits."""

        def render(self, task: Task) -> Text:
            room = console.width - least_bar - percent - remaining - 1
            fitting = (text for text in task.fields["texts"] if len(text) <= room)
            return Text(next(fitting, ""), no_wrap=True)

    # the colours are readable on light and on dark backgrounds
    bar = BarColumn(
        bar_width=None, style="dim", complete_style="magenta", finished_style="magenta"
    )
    shown = Progress(
        Percent(),
        bar,
        Remaining(),
        Texts(),
        console=console,
        expand=True,
        speed_estimate_period=3600,  # records may be minutes apart
    )
    shown.add_task("", total=None, texts=())
    return shown


def describe_training(
    run: str,
    position: Mapping[str, Any],
    train: Mapping[str, Any] | None,
    validation: Mapping[str, Any] | None,
) -> list[str]:
    """Texts about the state of a training, from the longest to the shortest.

    Args:
        run: which of several runs it is; empty if there is one.
        position: the latest record.
        train, validation: the latest record of each split.
    """
    names = [name for name in (run, position.get("stage", "")) if name]
    epoch = f"epoch {position['epoch']:.1f}"
    now = headline(train, "") if train else ""
    is_best = " best" if validation and validation["best"] else ""
    validated = headline(validation, "validation ") if validation else ""
    short = headline(validation, "val ", with_name=False) if validation else ""
    speed = f"{train['examples_per_second']:,.0f} examples/s" if train else ""
    metrics = format_metrics(train, 2) if train else ""
    choices = [
        [*names, epoch, metrics, validated + is_best, speed],
        [*names, epoch, now, validated + is_best],
        [*names, epoch, now, short],
        [*names[-1:], epoch, now, short],
        [epoch, now, short],
        [now, short],
        [now],
    ]
    return ["  ".join(filter(None, choice)) for choice in choices]


def headline(record: Mapping[str, Any], prefix: str, *, with_name: bool = True) -> str:
    """The ELBO of a record, or what is defined in its place, such as ``elbo -98.12``."""
    name = next(name for name in ("elbo", "distortion", "loss", "bound") if name in record)
    return f"{prefix}{f'{name} ' if with_name else ''}{_format_number(record[name], 2)}"


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
    parts += [format_metrics(train, 2)] if train else []
    if validation:
        is_best = " best" if validation["best"] else ""
        parts += [headline(validation, "validation ") + is_best]
    return "  ".join(parts)


def format_metrics(record: Mapping[str, Any], digits: int) -> str:
    """The ELBO, rate and distortion of a record as far as they are defined, or else its loss."""
    names: tuple[str, ...] = ("elbo", "rate", "distortion")
    if not record.keys() & {*names}:  # a stage that trains a prior alone
        names = ("loss", "bound")
    return "  ".join(
        f"{name} {_format_number(record[name], digits)}" for name in names if name in record
    )


def _format_number(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if abs(value) < _MAX_PLAIN else f"{value:.3e}"


def can_animate() -> bool:
    """Whether stderr is a terminal on which a line can be drawn again and again."""
    if not sys.stderr.isatty() or os.environ.get("CI", "") not in ("", "0", "false"):
        return False
    return os.environ.get("TERM", "") not in ("dumb", "unknown")


@contextlib.contextmanager
def training_progress(ctx: click.Context, *, runs: int = 1) -> Iterator[list[Callback]]:
    """Callbacks that show the progress of training within a block.

    Args:
        ctx: the context of the command, which may be quiet.
        runs: how many runs will follow one another; outside of a terminal the progress of several
            is not shown.
    """
    if ctx.obj["quiet"]:
        yield []
    elif can_animate():
        progress = TerminalProgress(runs)
        with progress.line.visible():
            yield [progress]
    else:
        yield [PlainProgress()] if runs == 1 else []


@contextlib.contextmanager
def working(text: str) -> Iterator[None]:
    """Shows on a terminal, for a block, what a command does and since when."""
    ctx = click.get_current_context(silent=True)
    if ctx is None or ctx.obj["quiet"] or not can_animate():
        yield
        return
    line = BottomLine()
    line.show_spinner(text)
    with line.visible():
        yield
