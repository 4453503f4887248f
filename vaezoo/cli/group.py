"""The command line in one of several processes that a launcher such as torchrun started.

``run``, ``resume`` and ``weights reproduce`` train in all of them, and the main process prints.
Every other command is the main process's alone.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import warnings
from collections.abc import Iterator

import click

from vaezoo.utils import own_process
from vaezoo.utils.errors import VaezooError, print_error
from vaezoo.utils.exit_codes import EXIT_OK
from vaezoo.utils.launch import Launch

TRAINING_COMMANDS = ("run", "resume", "weights")


def rank() -> int:
    """The rank of this process; 0 if it was started alone."""
    launch = Launch.read()
    return 0 if launch is None else launch.rank


def leave_to_main_process(ctx: click.Context) -> None:
    """Ends the command in every process but the main one, which continues without the others."""
    ctx.ensure_object(dict)["trains_together"] = False
    if rank():
        ctx.exit(EXIT_OK)


def resume_by_same_command() -> None:
    """Says, if the command is interrupted, that the same command goes on."""
    from vaezoo.utils.paths import shell_word

    if own_process.is_installed:
        own_process.resume_command = " ".join(["vaezoo", *map(shell_word, sys.argv[1:])])


@contextlib.contextmanager
def silence_others() -> Iterator[None]:
    """Discards results and warnings of every process but the main one for a block."""
    if not rank():
        yield
        return
    with (
        open(os.devnull, "w") as nothing,
        contextlib.redirect_stdout(nothing),
        warnings.catch_warnings(action="ignore"),
    ):
        yield


def end(code: int, message: str, trains_together: bool) -> int:
    """Prints the error of a command once, whether one process failed or all.

    Args:
        code: the exit code of this process.
        message: the error; empty if there is none.
        trains_together: whether the command is one that all processes take part in.

    Returns:
        The exit code.
    """
    launch = Launch.read()
    if launch is None or not trains_together:
        if message and not rank():
            print_error(message)
        return EXIT_OK if rank() else code
    from vaezoo.runs.processes import agree_on_failure, join_process_group, leave_process_group

    if message:
        with contextlib.suppress(VaezooError):  # of which this message is the cause
            join_process_group()
        agree_on_failure(code, message)
        if not launch.rank:
            print_error(message)
    if code:  # a launcher sends SIGTERM to all when the first ends; each ends with its own code
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    leave_process_group(code)
    return code
