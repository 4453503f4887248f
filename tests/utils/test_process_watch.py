"""The watches of a group, here all in one process: what they print, and how they end."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time

import pytest

import vaezoo.utils.process_watch
from vaezoo.utils.process_watch import Link, ProcessWatch, start_watch

LIMIT = 20.0


class Group:
    """The watches of several processes, whose ends are recorded in place of ending pytest."""

    def __init__(self, size):
        pairs = {rank: socket.socketpair() for rank in range(1, size)}
        self.links = {rank: Link(pair[1]) for rank, pair in pairs.items()}
        main = ProcessWatch(0, size, {rank: Link(pair[0]) for rank, pair in pairs.items()})
        others = [ProcessWatch(rank, size, {0: link}) for rank, link in self.links.items()]
        self.watches = [main, *others]

    def fail(self, rank, code, text):
        """Process ``rank`` fails, in a thread that is returned."""
        thread = threading.Thread(
            target=self.watches[rank].agree_on_failure, args=(code, text), daemon=True
        )
        thread.start()
        return thread

    def die(self, rank):
        """Process ``rank`` dies: its connections close without a goodbye."""
        self.watches[rank].is_leaving = True
        for link in self.watches[rank].links.values():
            link.close()


@pytest.fixture
def ended(monkeypatch):
    """Records exit codes; ``ended(n)`` waits until n processes have ended."""
    codes, changed, is_over = [], threading.Condition(), threading.Event()

    def end(code):
        with changed:
            codes.append(code)
            changed.notify_all()
        is_over.wait()  # a process that ended does nothing

    def wait(count):
        with changed:
            assert changed.wait_for(lambda: len(codes) >= count, LIMIT), codes
        return codes

    monkeypatch.setattr(os, "_exit", end)
    yield wait
    is_over.set()


@pytest.fixture
def group(ended):
    groups = []

    def build(size):
        groups.append(Group(size))
        return groups[-1]

    yield build
    watches = [watch for each in groups for watch in each.watches]
    for watch in watches:  # all, before the first connection closes
        watch.is_leaving = True
    for watch in watches:
        for link in watch.links.values():
            link.close()


def errors(capsys):
    return capsys.readouterr().err.splitlines()


def test_the_death_of_a_process_ends_the_others_with_one_line(group, ended, capsys):
    processes = group(3)
    processes.watches[0].describe_run = lambda: "; a hint"
    processes.die(2)
    assert ended(2) == [1, 1]
    assert errors(capsys) == ["error: process 2 of 3 ended unexpectedly; a hint"]


def test_the_death_of_the_main_process_ends_the_others_with_one_line(group, ended, capsys):
    group(3).die(0)
    assert ended(2) == [1, 1]
    assert errors(capsys) == ["error: process 0 of 3 ended unexpectedly"]


def test_the_failure_of_one_process_ends_all_with_its_code(group, ended, capsys, monkeypatch):
    monkeypatch.setattr(vaezoo.utils.process_watch, "_SECONDS_TO_AGREE", 0.2)
    group(3).fail(1, 7, "out of memory")
    assert ended(3) == [7, 7, 7]
    assert errors(capsys) == ["error: process 1: out of memory"]


def test_the_failure_of_the_main_process_ends_the_others_silently(
    group, ended, capsys, monkeypatch
):
    """It prints its own error, as it would alone, before it leaves."""
    monkeypatch.setattr(vaezoo.utils.process_watch, "_SECONDS_TO_AGREE", 0.2)
    processes = group(3)
    processes.fail(0, 5, "disk full").join(LIMIT)
    assert processes.watches[0].exit_code == 5
    processes.watches[0].leave(5)
    assert ended(2) == [5, 5]
    assert errors(capsys) == []


def test_a_failure_of_all_processes_ends_none(group, capsys):
    """As often as they fail, as in a sweep."""
    processes = group(3)
    for _ in range(3):
        threads = [processes.fail(rank, 3, "not valid") for rank in (2, 0, 1)]
        for thread in threads:
            thread.join(LIMIT)
            assert not thread.is_alive()
    assert processes.watches[0].exit_code == 0
    assert errors(capsys) == []


def test_processes_go_on_after_the_main_one_failed_as_the_last(group, capsys, monkeypatch):
    """No thread waits for a failure of the main process that is handled by now."""
    monkeypatch.setattr(vaezoo.utils.process_watch, "_SECONDS_TO_AGREE", 2.0)
    processes = group(3)
    threads = [processes.fail(1, 3, "not valid"), processes.fail(2, 3, "not valid")]
    main = processes.watches[0]
    with main.changed:
        assert main.changed.wait_for(lambda: len(main.failures) == 2, LIMIT)
    threads.append(processes.fail(0, 3, "not valid"))
    for thread in threads:
        thread.join(LIMIT)
    time.sleep(2.5)  # longer than the threads may wait
    assert errors(capsys) == [] and main.exit_code == 0


def test_another_message_of_a_process_is_printed_too(group, capsys):
    processes = group(2)
    threads = [processes.fail(0, 3, "not valid"), processes.fail(1, 3, "not found")]
    for thread in threads:
        thread.join(LIMIT)
    assert errors(capsys) == ["error: process 1: not found"]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)], ids=["main first", "main last"])
def test_processes_that_say_goodbye_end_nobody(order, group, capsys):
    processes = group(3)
    for rank in order:
        processes.watches[rank].leave()
    assert not any(thread.is_alive() for watch in processes.watches for thread in watch.threads)
    assert errors(capsys) == []


def test_a_process_that_failed_leaves_after_the_main_one(group):
    """A launcher kills the others when one fails, and the main one may still be printing."""
    processes = group(2)
    leaving = threading.Thread(target=processes.watches[1].leave, args=(3,), daemon=True)
    leaving.start()
    leaving.join(0.3)
    assert leaving.is_alive()
    processes.watches[0].leave(3)
    leaving.join(LIMIT)
    assert not leaving.is_alive()


def test_processes_connect_and_strangers_do_not(monkeypatch, capsys):
    """A stranger connects before the other process, and cannot know the token."""
    monkeypatch.setattr(vaezoo.utils.process_watch, "_SECONDS_TO_END", 0.5)
    monkeypatch.setattr(vaezoo.utils.process_watch, "_current", None)
    sent, is_sent, watches, strangers = [], threading.Event(), {}, []
    is_over = threading.Event()

    def broadcast_text(text):
        if text:
            sent.append(text)
            endless = b"[" * 900 + b"\n", b"[" * 5000
            for message in (b'{"token": "guess", "rank": 1}\n', b"GET /\n", b"", *endless, None):
                strangers.append(socket.create_connection(("127.0.0.1", int(text.split(" ")[0]))))
                if message is not None:  # one stays, and sends nothing but parts of a line
                    strangers[-1].sendall(message)
                    if message != endless[1]:  # which goes on without an end of the line
                        strangers[-1].close()
            threading.Thread(target=trickle, args=(strangers[-1],), daemon=True).start()
            is_sent.set()
        assert is_sent.wait(LIMIT)
        return sent[0]

    def trickle(connection):
        with contextlib.suppress(OSError):
            while not is_over.wait(0.1):  # each part comes in time, and the line never ends
                connection.sendall(b" ")

    def start(rank):
        watches[rank] = start_watch(rank, 2, "localhost", broadcast_text)

    threads = [threading.Thread(target=start, args=(rank,)) for rank in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)
        assert not thread.is_alive()
    is_over.set()
    for stranger in strangers:
        stranger.close()
    for watch in watches.values():
        watch.leave()
