"""The line at the bottom of a terminal that shows what a command does; rich draws it.

It is erased before anything is printed below it, so that nothing of it is left on the screen.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from vaezoo.cli.output import bottom_line
from vaezoo.utils.errors import printable

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.progress import Progress

_REFRESHES_PER_SECOND = 4


class BottomLine:
    """The line at the bottom of a terminal. Lines that are printed meanwhile appear above it."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live
        from rich.theme import Theme

        plain = Theme({"progress.elapsed": "none", "progress.remaining": "none"})  # not yellow
        self.console = Console(stderr=True, highlight=False, theme=plain)
        self.shown = self._spinner("working")
        self.live = Live(
            console=self.console,
            get_renderable=self._render,
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

    def _render(self) -> RenderableType:
        from rich.constrain import Constrain

        return Constrain(self.shown.get_renderable(), _room(self.console))

    def _spinner(self, text: str) -> Progress:
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        columns = (
            SpinnerColumn("line", style="none"),
            TextColumn("{task.description}", markup=False),
            TimeElapsedColumn(),
        )
        shown = Progress(*columns, console=self.console)
        shown.add_task(printable(text), total=None)
        return shown


def _room(console: Console) -> int:
    """The width of the line: a terminal shows ^C behind it, which must not wrap."""
    return max(1, console.width - 3)


def _training_bar(console: Console) -> Progress:
    """A bar that leaves its texts out where the terminal is too narrow for them."""
    from rich.progress import BarColumn, Progress, ProgressColumn, Task, TimeRemainingColumn
    from rich.table import Column
    from rich.text import Text

    least_bar, percent, remaining = 8, 5, 12  # columns, with the space behind each

    class Remaining(TimeRemainingColumn):
        """The estimated time to the end of training."""

        def render(self, task: Task) -> Text:
            if _room(console) < least_bar + percent + remaining:
                return Text()
            return Text("ETA ") + super().render(task)

    class Percent(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.percentage:>3.0f}%")

    class Texts(ProgressColumn):
        """The longest of the texts that fits."""

        def render(self, task: Task) -> Text:
            room = _room(console) - least_bar - percent - remaining - 1
            fitting = (text for text in task.fields["texts"] if len(text) <= room)
            return Text(next(fitting, ""), no_wrap=True)

    # the colours are readable on light and on dark backgrounds
    bar = BarColumn(
        bar_width=None, style="dim", complete_style="magenta", finished_style="magenta"
    )
    shown = Progress(
        Percent(Column(no_wrap=True)),
        bar,
        Remaining(table_column=Column(no_wrap=True)),
        Texts(Column(no_wrap=True)),
        console=console,
        expand=True,
        speed_estimate_period=3600,  # records may be minutes apart
    )
    shown.add_task("", total=1, texts=())  # until the first record says how many steps
    return shown


def can_animate() -> bool:
    """Whether stderr is a terminal on which a line can be drawn again and again."""
    if not sys.stderr.isatty() or os.environ.get("CI", "") not in ("", "0", "false"):
        return False
    return os.environ.get("TERM", "") not in ("dumb", "unknown")


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
