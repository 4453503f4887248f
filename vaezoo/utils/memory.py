"""The memory of the machine, for checks before anything is allocated."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from vaezoo.utils.errors import DataError

_CONTAINER_LIMITS = (
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
)


def memory_size() -> int | None:
    """The memory of this machine, or what a container may use of it, in bytes; None if unknown."""
    sizes = []
    with contextlib.suppress(AttributeError, OSError, ValueError):  # not on every system
        sizes.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for path in _CONTAINER_LIMITS:
        with contextlib.suppress(OSError, ValueError):  # no container, or no limit: "max"
            sizes.append(int(Path(path).read_text("ascii")))
    return min(sizes, default=None)


def check_memory(needed: int, what: str, remedy: str) -> None:
    """Checks that what a file declares fits in memory.

    Args:
        needed: bytes.
        what: what needs them, for the message.
        remedy: what to do about it, for the message.

    Raises:
        vaezoo.DataError: the machine has less memory.
    """
    size = memory_size()
    if size is not None and needed > size:
        raise DataError(
            f"{what} need {needed / 2**30:,.1f} GiB; this machine has {size / 2**30:,.1f} GiB of "
            f"memory; {remedy}"
        )
