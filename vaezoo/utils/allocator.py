"""What a command-line process may do to itself, and a library must not."""

from __future__ import annotations

import ctypes
import os

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEEP = 2**30


def tune_allocator() -> None:
    """Lets glibc keep freed memory, so that each training step does not fetch its pages anew from the kernel.

    Peak memory stays the same. Elsewhere than glibc, or where the user has set MALLOC_ variables, nothing happens.
    """
    if any(name.startswith("MALLOC_") for name in os.environ):
        return
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return
    mallopt(_M_MMAP_THRESHOLD, _KEEP)
    mallopt(_M_TRIM_THRESHOLD, _KEEP)
