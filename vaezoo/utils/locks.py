"""Locks that other processes hold: who holds one, and a warning while waiting for it."""

from __future__ import annotations

import re
import warnings
from contextlib import suppress
from pathlib import Path

from filelock import AcquireReturnProxy, BaseFileLock, Timeout

_SECONDS_BEFORE_WARNING = 5.0
"""How long another process may hold a lock before the process that waits warns of it."""
_HELD = re.compile(
    r"\d+: (FLOCK|POSIX|OFDLCK) +\w+ +WRITE +(?P<pid>-?\d+) +\w+:\w+:(?P<inode>\d+) .*"
)


def acquire(lock: BaseFileLock, purpose: str) -> AcquireReturnProxy:
    """Waits for a lock; warns who holds it, if that takes more than some seconds.

    Args:
        lock: the lock.
        purpose: what its holder does, such as ``adding an entry``.

    Returns:
        A context manager that releases the lock.

    Raises:
        OSError: the file system has no locks, or the file of the lock cannot be created.
    """
    try:
        return lock.acquire(timeout=_SECONDS_BEFORE_WARNING)
    except Timeout:
        path = Path(lock.lock_file)
        message = f"waiting for {describe_holder(path)}, which holds {path} for {purpose}"
        warnings.warn(message, stacklevel=2)
        return lock.acquire(timeout=-1)


def is_locked(path: Path) -> bool:
    """Whether a process holds the lock of a file; it is not taken for a moment to find out.

    False where the system does not say which locks are held.
    """
    return _holder(path) is not None


def describe_holder(path: Path) -> str:
    """The process that holds the lock of a file, and how to continue it if it is stopped.

    Returns:
        Such as ``process 123`` or ``process 123 (stopped: kill -CONT 123 continues it)``;
        ``another process`` where the system does not say which.
    """
    pid = _holder(path)
    if pid is None or pid <= 0:
        return "another process"
    with suppress(OSError):
        # the state comes after the name of the program, which may hold anything
        state = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
        is_stopped = state.rpartition(")")[2].split()[0] in ("T", "t")
        return f"process {pid}" + (
            f" (stopped: kill -CONT {pid} continues it)" if is_stopped else ""
        )
    return "another process"


def _holder(path: Path) -> int | None:
    """The id of the process that holds the lock of a file.

    Returns:
        None if the lock is free, or where the system does not say which locks are held; 0 or less
        if the process is outside of this container, or none.
    """
    with suppress(OSError, ValueError):
        inode = path.stat().st_ino
        lines = Path("/proc/locks").read_text("ascii").splitlines()
        held = (_HELD.fullmatch(line) for line in lines)
        pids = (int(each["pid"]) for each in held if each and int(each["inode"]) == inode)
        return max(pids, default=None)
    return None
