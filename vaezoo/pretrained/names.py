"""Names in a registry file, which must never lead outside the folder or the address that the file is in."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from urllib.parse import SplitResult, urlsplit

from vaezoo.utils.errors import RegistryError

_DEVICE = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³]) *(\..*)?", re.IGNORECASE)
_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f<>:"|?*\\]')
_LONGEST = 255
_HUB = re.compile(r"hf://([^/]+/[^/@]+)@([0-9a-f]{40})/(\S+)")


def fault(path: str) -> str | None:
    """Why a relative path is refused; None where it is harmless on every system."""
    if not path or len(path) > 4 * _LONGEST:
        return "is empty or too long"
    if path.startswith(("/", "~")):
        return "is absolute; write it relative to the registry file"
    if _FORBIDDEN.search(path):
        return "has a character that some systems give a meaning of its own"
    for part in path.split("/"):
        if part in ("", ".", ".."):
            return "must go straight down from the registry file"
        if part.endswith((".", " ")) or part.startswith(" ") or len(part.encode()) > _LONGEST:
            return f"has the part {part!r}, which not every system can store"
        if _DEVICE.fullmatch(part):
            return f"has the part {part!r}, which is a device on Windows"
    return None


def hub(source: str) -> tuple[str, str, str] | None:
    """Repository, commit and file of ``hf://owner/repo@commit/file``; None where it is not just that."""
    match = _HUB.fullmatch(source)
    if match is None or fault(match[1]) or fault(match[3]):
        return None
    return match[1], match[2], match[3]


def split(url: str) -> SplitResult | None:
    """The parts of an address; None where it is none."""
    try:
        return urlsplit(url)
    except ValueError:  # brackets that hold no address
        return None


def inside(root: Path, path: str) -> Path:
    """A file below a folder.

    Raises:
        RegistryError: the path, or a symbolic link on its way, leads out of the folder.
    """
    if reason := fault(path):
        raise RegistryError(f"path {path!r} {reason}")
    found = root.joinpath(*PurePosixPath(path).parts)
    try:
        leads_out = not found.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError) as error:
        raise RegistryError(f"path {path!r} cannot be followed: {error}") from error
    if leads_out:
        raise RegistryError(f"path {path!r} leads out of {root} through a symbolic link")
    return found
