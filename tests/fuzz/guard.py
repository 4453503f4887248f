"""Notices what no reader may do, whatever it is given to read."""

from __future__ import annotations

import contextlib
import os
import random
import re
import sys
import tracemalloc
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

MEMORY = 64 * 2**20
"""The bytes that reading a source of a few kB may take."""
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CHANGES = ("os.mkdir", "os.rename", "os.link", "os.symlink", "os.remove", "os.rmdir", "os.chmod",
            "os.truncate", "os.mkfifo", "shutil.rmtree", "shutil.move")  # fmt: skip
_NEVER = ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "subprocess.Popen",
          "socket.connect", "socket.getaddrinfo", "pickle.find_class")  # fmt: skip


class Fault(Exception):
    """The reader did what is never right, or not what the mutation implies."""


@contextlib.contextmanager
def guarded(
    folder: Path,
    *,
    memory: int | None = MEMORY,
    may_warn: str | None = None,
    may_write: bool = False,
    may_draw: bool = False,
) -> Iterator[list[str]]:
    """Raises a Fault if the block leaves traces.

    Args:
        folder: of the files that are read.
        memory: the bytes that the block may take; None for any number.
        may_warn: matches the warnings that are allowed, which are appended to what is yielded.
        may_write: whether files in the folder may change; others never may.
        may_draw: whether the states of global random generators may change.
    """
    files, randomness, told = _list_files(folder), _random_states(), []
    if memory is not None:
        # it is never stopped between cases: that can crash beside a thread that ends (gh-128679)
        tracemalloc.start(1)
        tracemalloc.clear_traces()
    try:
        with (
            warnings.catch_warnings(record=True) as caught,
            _no_output(),
            _watching(folder) as seen,
        ):
            warnings.simplefilter("always")
            yield told
        peak = tracemalloc.get_traced_memory()[1] if memory is not None else 0
    finally:
        told += [str(each.message) for each in caught]
    for each in caught:
        text = str(each.message)
        if may_warn is None or not re.search(may_warn, text) or not text.isprintable():
            raise Fault(f"warns: {each.category.__name__}: {text!r}")
    if memory is not None and peak > memory:
        raise Fault(f"takes {peak / 2**20:.0f} MiB")
    if not may_draw and _random_states() != randomness:
        raise Fault("changes the state of a global random generator")
    if not may_write and (changed := _list_files(folder) ^ files):
        raise Fault(f"changes files: {sorted(changed)}")
    if seen:
        raise Fault(f"reaches out of the folder: {'; '.join(seen[:3])}")


def _random_states() -> tuple[Any, ...]:
    return (
        torch.get_rng_state().numpy().tobytes(),
        np.random.get_state()[1].tobytes(),  # type: ignore[union-attr]
        hash(random.getstate()),
    )


def _list_files(folder: Path) -> set[tuple[str, int, int]]:
    found = set()
    for root, folders, files in os.walk(folder):
        for name in (*folders, *files):
            file = Path(root, name)
            status = file.lstat()
            found.add((str(file), status.st_size, status.st_mtime_ns))
    return found


@contextlib.contextmanager
def _no_output() -> Iterator[None]:
    """Raises a Fault if anything, libraries in C included, writes to stdout or stderr."""
    saved, sink = [os.dup(1), os.dup(2)], os.memfd_create("output")
    try:
        os.dup2(sink, 1)
        os.dup2(sink, 2)
        with (
            open(sink, "w", closefd=False) as stream,
            contextlib.redirect_stdout(stream),
            contextlib.redirect_stderr(stream),
        ):
            yield
    finally:
        for number, copy in zip((1, 2), saved, strict=True):
            os.dup2(copy, number)
            os.close(copy)
        size = os.lseek(sink, 0, os.SEEK_CUR)
        text = os.pread(sink, 300, 0)
        os.close(sink)
    if size:
        raise Fault(f"writes to the terminal: {text!r}")


class _Watch:
    """What Python reports to its audit hook, which cannot be removed, while ``folder`` is set."""

    folder: Path | None = None
    seen: list[str] = []
    is_installed = False

    def note(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.folder is None or event not in ("open", *_CHANGES, *_NEVER):
            return
        if event == "open" and not (arguments[2] or 0) & _WRITING:
            return
        paths = arguments[: 2 if event in ("os.rename", "os.link") else 1]
        if event not in _NEVER and all(self._is_inside(path) for path in paths):
            return
        self.seen.append(f"{event} {arguments!r:.200}")

    def _is_inside(self, path: Any) -> bool:
        if isinstance(path, int) or path == os.devnull:
            return True
        place = Path(os.path.abspath(os.fsdecode(path)))  # noqa: PTH100 - touches nothing
        return self.folder in (place, *place.parents) or "__pycache__" in place.parts


_watch = _Watch()


@contextlib.contextmanager
def _watching(folder: Path) -> Iterator[list[str]]:
    """Lists files that are changed outside of a folder, programs that run and connections."""
    if not _watch.is_installed:
        sys.addaudithook(_watch.note)
        _watch.is_installed = True
    _watch.folder, _watch.seen = folder.absolute(), []
    try:
        yield _watch.seen
    finally:
        _watch.folder = None
