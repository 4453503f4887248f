"""Tunes the memory allocator of a command-line process, which a library must not do."""

from __future__ import annotations

import ctypes
import os

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # parameters of mallopt, see malloc.h
_THRESHOLD = 2**30
"""Freed memory is returned to the kernel only above this number of bytes."""


def tune_allocator() -> None:
    """Makes glibc reuse freed memory, which saves page requests to the kernel in every step.

    Peak memory stays the same. Does nothing without glibc, or if the user has set MALLOC_
    variables.
    """
    if any(name.startswith("MALLOC_") for name in os.environ):
        return
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return
    mallopt(_M_MMAP_THRESHOLD, _THRESHOLD)
    mallopt(_M_TRIM_THRESHOLD, _THRESHOLD)
