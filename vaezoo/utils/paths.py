"""Finds data files and the cache folder."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from vaezoo.utils.errors import DataError, UnavailableError


def expand_user(path: str | Path) -> Path:
    """A path in which ``~`` or ``~user`` is the folder of that user; as it is, if none is known.

    ``Path.expanduser`` fails for users that the system does not know, such as that of a container.
    """
    return Path(os.path.expanduser(path))  # noqa: PTH111


def shell_word(path: str | Path) -> str:
    """A path as a shell takes it, whatever is in it; control characters and undecodable bytes are
    written as ``$'\\xff'``, which bash, zsh and ksh know."""
    text = str(path)
    if text.isprintable():
        return shlex.quote(text)
    escaped = (
        character if character.isprintable() and character not in "'\\" else _bytes(character)
        for character in text
    )
    return f"$'{''.join(escaped)}'"


def _bytes(character: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in os.fsencode(character))


def cache_home() -> Path:
    """The folder for downloads and other cached files: ``VAEZOO_HOME``, or ``~/.cache/vaezoo``.

    Raises:
        UnavailableError: ``VAEZOO_HOME`` is not set, and this user has no home.
    """
    path = expand_user(os.environ.get("VAEZOO_HOME") or "~/.cache/vaezoo")
    if path.parts[:1] and path.parts[0].startswith("~"):
        raise UnavailableError(
            f"no folder for cached files: the home in {path} is not known; set VAEZOO_HOME"
        )
    return path


def find_data(path: str) -> Path:
    """Finds a file or folder of data.

    Args:
        path: absolute, or relative to the working directory or to ``VAEZOO_DATA``, in this order.

    Raises:
        DataError: the file does not exist in any of these folders.
    """
    candidates = [expand_user(path)]
    if not candidates[0].is_absolute() and (root := os.environ.get("VAEZOO_DATA")):
        candidates.append(Path(root) / path)
    for candidate in candidates:
        if candidate.exists():
            return candidate
    missing = " and no ".join(map(str, candidates))
    raise DataError(f"no {missing}; give another path or set VAEZOO_DATA")
