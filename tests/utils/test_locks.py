"""A process that waits for a lock says for whom, and one that is stopped is named."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest
from filelock import FileLock

from vaezoo.pretrained.cache import Cache
from vaezoo.pretrained.entry_parts import File
from vaezoo.runs import registry_file
from vaezoo.utils import locks

HOLDER = """
import sys, filelock
lock = filelock.FileLock(sys.argv[1])
lock.acquire()
print(flush=True)
input()
"""
DATA = b"the weights"


@pytest.fixture
def holder():
    """Starts a process that holds the lock of a file until it reads a line, and stops it."""
    started = []

    def hold(path, *, is_stopped=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        started.append(process)
        process.stdout.readline()
        if is_stopped:
            process.send_signal(signal.SIGSTOP)
            os.waitpid(process.pid, os.WUNTRACED)
        return process

    yield hold
    for process in started:
        process.kill()
        process.communicate()


def waits(call, process, monkeypatch):
    """Calls a function that waits for a process; returns the only warning, after which the
    process goes on."""
    monkeypatch.setattr(locks, "_SECONDS_BEFORE_WARNING", 0.1)
    said = []

    def go_on(message, **_):
        said.append(message)
        process.send_signal(signal.SIGCONT)
        process.stdin.write(b"\n")
        process.stdin.flush()

    monkeypatch.setattr(locks, "warnings", SimpleNamespace(warn=go_on))
    timer = threading.Timer(60, process.kill)
    timer.start()
    call()
    timer.cancel()
    (message,) = said
    return message


def hint(process):
    return f"process {process.pid} (stopped: kill -CONT {process.pid} continues it)"


def test_who_waits_for_a_download_is_told_by_whom(holder, tmp_path, monkeypatch):
    import hashlib

    digest = hashlib.sha256(DATA).hexdigest()
    file = File(name="a.safetensors", sha256=digest, size=len(DATA), sources=["a"])
    lock = tmp_path / "partial" / f"{digest}.lock"
    process = holder(lock)
    cache, found = Cache(tmp_path), []

    def download():
        def write(path, size):
            path.write_bytes(DATA)

        found.append(bytes(cache.add(file, "a", write)))

    message = waits(download, process, monkeypatch)
    assert found == [DATA]
    assert message == f"waiting for {hint(process)}, which holds {lock} for downloading this file"


def test_who_waits_for_a_registry_is_told_by_whom(holder, tmp_path, monkeypatch):
    registry = tmp_path / "registry.yaml"
    process = holder(tmp_path / f".{registry.name}.lock")
    for name in ("_dump_registry", "parse_registry"):  # of entries, which the test does without
        monkeypatch.setattr(registry_file, name, lambda *_: "text")
    entry = SimpleNamespace(id="a/b@1")
    message = waits(
        lambda: registry_file.append_entry(tmp_path, entry, None),
        process,
        monkeypatch,
    )
    assert message.startswith(f"waiting for {hint(process)}, which holds ")
    assert message.endswith(" for adding an entry") and registry.read_text() == "text"


def test_a_process_that_is_not_stopped_is_named_alone(holder, tmp_path):
    process = holder(tmp_path / "a.lock", is_stopped=False)
    assert locks.describe_holder(tmp_path / "a.lock") == f"process {process.pid}"


def test_a_holder_that_the_system_does_not_name_is_another_process(tmp_path):
    (tmp_path / "free").touch()
    for path in (tmp_path / "free", tmp_path / "missing"):
        assert locks.describe_holder(path) == "another process"


def test_a_free_lock_is_taken_without_a_warning(tmp_path):
    with locks.acquire(FileLock(tmp_path / "a.lock"), "nothing") as lock:
        assert lock.is_locked
    assert not lock.is_locked
