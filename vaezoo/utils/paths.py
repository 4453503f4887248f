"""Finds data files and the cache folder."""

from __future__ import annotations

import os
from pathlib import Path

from vaezoo.utils.errors import DataError


def cache_home() -> Path:
    """The folder for downloads and other cached files: ``VAEZOO_HOME``, or ``~/.cache/vaezoo``."""
    return Path(os.environ.get("VAEZOO_HOME") or "~/.cache/vaezoo").expanduser()


def find_data(path: str) -> Path:
    """Finds a file or folder of data.

    Args:
        path: absolute, or relative to the working directory or to ``VAEZOO_DATA``, in this order.

    Raises:
        DataError: the file does not exist in any of these folders.
    """
    candidates = [Path(path).expanduser()]
    if not candidates[0].is_absolute() and (root := os.environ.get("VAEZOO_DATA")):
        candidates.append(Path(root) / path)
    for candidate in candidates:
        if candidate.exists():
            return candidate
    missing = " and no ".join(map(str, candidates))
    raise DataError(f"no {missing}; give another path or set VAEZOO_DATA")
