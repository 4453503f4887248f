"""Joins the processes that a launcher such as torchrun started, and lets them fail together."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from vaezoo.runs.directory import RunDirectory
from vaezoo.runs.log import describe_last_checkpoint
from vaezoo.utils import own_process
from vaezoo.utils.errors import (
    Interrupted,
    UnavailableError,
    VaezooError,
    describe_failure,
)
from vaezoo.utils.launch import Launch
from vaezoo.utils.process_group import ProcessGroup
from vaezoo.utils.process_watch import current_watch, start_watch

_TIME_TO_MEET = timedelta(minutes=10)
_TIME_TO_WAIT = timedelta(days=30)
"""The main process may evaluate for long while others wait; the watch finds those that died."""


def join_process_group() -> ProcessGroup:
    """Joins the group of processes that this process belongs to, unless it has joined already.

    A group that the caller has initialized is used as it is. Otherwise the environment variables
    of torchrun name it; without them it is this process alone. Processes that torchrun started
    watch one another from now on (``utils.process_watch``), and leave when Python exits.

    Raises:
        UsageError: the environment variables are not valid.
        UnavailableError: the processes do not find each other.
        VaezooError: they failed before, and no longer train together.
    """
    if not dist.is_available() or (dist.is_initialized() and "MASTER_ADDR" not in os.environ):
        return ProcessGroup.current()
    launch = Launch.read()
    if launch is None:
        return ProcessGroup.current()
    if not dist.is_initialized():
        _initialize(launch)
    process_group, watch = ProcessGroup.current(), current_watch()
    if watch is None and process_group.size > 1:
        start_watch(
            process_group.rank, process_group.size, launch.host, process_group.broadcast_text
        )
        atexit.register(leave_process_group)
    elif watch is not None and watch.exit_code:
        raise VaezooError("this process failed while others did not; start all of them again")
    return process_group


def _initialize(launch: Launch) -> None:
    """Initializes torch.distributed as the environment variables say."""
    from torch.distributed.rendezvous import rendezvous

    backend = "gloo"
    if torch.cuda.is_available():
        backend = "cpu:gloo,cuda:nccl" if dist.is_nccl_available() else "gloo"
        if launch.local_rank < torch.cuda.device_count():
            torch.cuda.set_device(launch.local_rank)
    try:
        store, rank, size = next(rendezvous("env://", timeout=_TIME_TO_MEET))
        dist.init_process_group(
            backend, store=store, rank=rank, world_size=size, timeout=_TIME_TO_WAIT
        )
    except (RuntimeError, ValueError, OSError) as error:
        reason = str(error).partition("\n")[0]  # the stack of C++ follows
        raise UnavailableError(
            f"process {launch.rank} of {launch.size} cannot join the others at "
            f"{launch.host}:{launch.port}: {reason}"
        ) from error
    atexit.register(_destroy)


def _destroy() -> None:
    """Closes the connections of torch.distributed, unless the caller has done so."""
    if dist.is_initialized():
        dist.destroy_process_group()


def leave_process_group(code: int = 0) -> None:
    """Tells the other processes that this one ends with an exit code."""
    watch = current_watch()
    if watch is not None:
        watch.leave(code)


@contextlib.contextmanager
def work_together() -> Iterator[ProcessGroup]:
    """Joins the process group for a block; an error in one process ends the block in all.

    If every process raises an error, each can handle its own. If only some do, the message is
    printed by the main process, and all processes end. SIGTERM, with which a launcher ends
    processes, raises ``Interrupted`` in the block.

    Raises:
        VaezooError: see ``join_process_group``.
    """
    process_group = join_process_group()
    if process_group.size == 1:
        yield process_group
        return
    with _raise_on_sigterm():
        try:
            yield process_group
        except BaseException as error:
            is_expected = isinstance(error, VaezooError | KeyboardInterrupt | OSError)
            is_shown = own_process.shows_tracebacks and not is_expected
            details = traceback.format_exc() if is_shown else ""
            agree_on_failure(*describe_failure(error), details)
            raise
        finally:
            set_resume_hint(None)


def agree_on_failure(code: int, text: str, details: str = "") -> None:
    """Tells the others that this process failed; see ``ProcessWatch.agree_on_failure``."""
    watch = current_watch()
    if watch is not None:
        with _handle_sigterm(signal.SIG_IGN):  # which a launcher sends when the others end
            watch.agree_on_failure(code, text, details)


def set_resume_hint(path: Path | None, command: str = "") -> None:
    """Names the run in the message about a process that dies, and the command that resumes it.

    Args:
        path: the directory of the run; None is no run.
        command: resumes it.
    """

    def describe_run() -> str:
        if path is None:
            return ""
        return f"; {describe_last_checkpoint(RunDirectory(path))}; {command}"

    watch = current_watch()
    if watch is not None:
        watch.describe_run = describe_run


def _raise_on_sigterm() -> AbstractContextManager[None]:
    """Raises ``Interrupted`` on SIGTERM, unless the caller has a handler of his own."""

    def stop(number: int, frame: Any) -> None:
        raise Interrupted("stopped by SIGTERM")

    if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        return contextlib.nullcontext()
    return _handle_sigterm(stop)


@contextlib.contextmanager
def _handle_sigterm(handler: Callable[[int, Any], None] | signal.Handlers) -> Iterator[None]:
    """Sets the handler of SIGTERM for a block; outside the main thread this is not possible."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGTERM, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
