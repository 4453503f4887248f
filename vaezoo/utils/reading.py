"""Reads files of runs, which may come from others: whatever they are, reading them ends."""

from __future__ import annotations

import errno
from pathlib import Path

from vaezoo.utils.paths import exists, is_file

MAX_BYTES = 1 << 26
"""The largest file that is read as a whole, in bytes; those of runs have some thousand."""


def check_regular(path: Path) -> None:
    """Checks that a path is no device, pipe or folder, whose reading might never end.

    Raises:
        OSError: it is one, or leads to one.
    """
    if exists(path) and not is_file(path):
        raise OSError(errno.EINVAL, "is a device, pipe or folder", str(path))


def read_small(path: Path) -> bytes:
    """The bytes of a file that is small when a run writes it.

    Raises:
        OSError: it is missing, is no regular file, or is too large.
    """
    check_regular(path)
    with open(path, "rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise OSError(errno.EFBIG, f"is larger than {MAX_BYTES >> 20} MiB", str(path))
    return data
