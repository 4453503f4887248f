"""Turns SIGINT and SIGTERM into a request to stop training."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any


class StopSignal:
    """A flag that a signal sets to request that training stops after the current step."""

    def __init__(self) -> None:
        self.requested = False


_current = StopSignal()
"""The flag of the training that this process is doing now."""


def request_stop() -> None:
    """Requests, like a signal, that the current training stops after the current step."""
    _current.requested = True


@contextlib.contextmanager
def stop_on_signals() -> Iterator[StopSignal]:
    """Sets a flag on the first SIGINT or SIGTERM; the second one is handled as before.

    A signal that is ignored stays ignored, as SIGINT is in a process that a shell starts with &.
    Outside the main thread no signal handler can be installed, and the flag stays unset.
    """
    import signal
    import threading

    global _current
    stop = _current = StopSignal()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    # None was not installed by Python, which cannot install it again
    previous = {n: each for n, each in handlers.items() if each not in (signal.SIG_IGN, None)}

    def request(number: int, frame: Any) -> None:
        stop.requested = True
        signal.signal(number, previous[signal.Signals(number)])

    for number in previous:
        signal.signal(number, request)
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
