"""Files in shared folders that nobody else can have put in the place of another."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

_NO_FILE = "is a symbolic link or no regular file"


def open_own_file(path: Path, *, append: bool) -> BinaryIO:
    """Opens a file for writing that nobody else can have put in the place of another.

    Raises:
        OSError: it is a symbolic link, has a second name, or is no regular file; or it cannot be
            opened.
    """
    flags = os.O_WRONLY | os.O_CREAT | (os.O_APPEND if append else 0)
    for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY", "O_CLOEXEC"):  # not on every system
        flags |= getattr(os, name, 0)
    try:
        descriptor = os.open(path, flags, 0o644)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):  # of a link, and of a pipe without a reader
            raise OSError(errno.EPERM, _NO_FILE, str(path)) from None
        raise
    if fault := file_fault(os.fstat(descriptor)):
        os.close(descriptor)
        raise OSError(errno.EPERM, fault, str(path))
    if not append:
        os.ftruncate(descriptor, 0)  # only now: it is known what the file is
    return os.fdopen(descriptor, "ab" if append else "wb")


def file_fault(status: os.stat_result) -> str | None:
    """Why a file may be one that somebody planted; None if it is a regular one with one name."""
    if not stat.S_ISREG(status.st_mode):
        return _NO_FILE
    return "has a second name" if status.st_nlink > 1 else None
