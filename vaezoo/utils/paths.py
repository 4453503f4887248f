"""Finds data files and the cache folder, and recognises paths of one machine."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

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


_OF_MACHINE = re.compile(r"~?[/\\]+\w|~\w|[A-Za-z]:[/\\]")
"""How a path begins that is absolute, or below a home folder."""
_SEPARATORS = re.compile(r"[/\\]+")


@dataclass(frozen=True)
class PlaceMarker:
    """Marks an option that names a file or a folder of the user's machine."""


DataPath = Annotated[str, PlaceMarker()]
"""The type of options of data sets and metrics that name a file or a folder, for ``find_data``.

For pretrained weights of others, such a path is looked up in ``VAEZOO_DATA`` only.

Example:
    >>> import vaezoo
    >>> class Points(vaezoo.Dataset):
    ...     def __init__(self, *, path: vaezoo.DataPath) -> None:
    ...         self.path = path
"""


def is_of_machine(text: str) -> bool:
    """Whether a text is a path of one machine: absolute, below a home folder, or with ``..``."""
    is_url = "://" in text
    return not is_url and (bool(_OF_MACHINE.match(text)) or ".." in _SEPARATORS.split(text))


def last_part(path: str) -> str:
    """The name of a file or folder without those that contain it, also of Windows."""
    return next((part for part in reversed(_SEPARATORS.split(path)) if part), "")


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


def exists(path: Path) -> bool:
    """Whether there is a file or folder that the operating system lets this process find.

    ``Path.exists`` raises an OSError for names that are too long and for what lies in folders that
    this process may not search.
    """
    return _is_found(path.exists)


def is_file(path: Path) -> bool:
    """``exists`` for a file."""
    return _is_found(path.is_file)


def is_folder(path: Path) -> bool:
    """``exists`` for a folder."""
    return _is_found(path.is_dir)


def _is_found(look: Callable[[], bool]) -> bool:
    try:
        return look()
    except OSError:
        return False


def find_data(path: str) -> Path:
    """Finds a file or folder of data.

    Args:
        path: absolute, or relative to the working directory or to ``VAEZOO_DATA``, in this order.

    Raises:
        DataError: the file does not exist in any of these folders, or is a device or a pipe.
    """
    candidates = [expand_user(path)]
    if not candidates[0].is_absolute() and (root := os.environ.get("VAEZOO_DATA")):
        candidates.append(Path(root) / path)
    for candidate in candidates:
        if is_file(candidate) or is_folder(candidate):
            return candidate
        if exists(candidate):  # reading it might never end
            raise DataError(f"{candidate}: is no file or folder, but a device, pipe or socket")
    missing = " and no ".join(map(str, candidates))
    raise DataError(f"no {missing}; give another path or set VAEZOO_DATA")
