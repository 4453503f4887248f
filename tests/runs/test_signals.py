"""Signals stop training, unless they are ignored."""

from __future__ import annotations

import os
import signal

import pytest

from vaezoo.runs.signals import stop_on_signals


@pytest.fixture(autouse=True)
def restored():
    """Restores the handlers after each test."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_stops_training_and_the_second_is_handled_as_before(number):
    received = []
    signal.signal(number, lambda *arguments: received.append(arguments[0]))
    with stop_on_signals() as stop:
        os.kill(os.getpid(), number)
        assert stop.requested and not received
        os.kill(os.getpid(), number)
        assert received == [number]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_is_ignored_stays_ignored(number):
    signal.signal(number, signal.SIG_IGN)
    with stop_on_signals() as stop:
        os.kill(os.getpid(), number)
        assert not stop.requested
        assert signal.getsignal(number) == signal.SIG_IGN
    assert signal.getsignal(number) == signal.SIG_IGN
