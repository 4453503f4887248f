"""Signals that ask a run to stop."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any


class StopSignal:
    """A request to stop at the next step, raised by a signal."""

    def __init__(self) -> None:
        self.requested = False


@contextlib.contextmanager
def stop_on_signals() -> Iterator[StopSignal]:
    """Turns SIGINT and SIGTERM into a request; a second one ends the process the usual way."""
    import signal
    import threading

    stop = StopSignal()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

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
