"""Checks of paths and URLs in a registry file: no path may lead out of the registry's folder."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from urllib.parse import SplitResult, urlsplit

from vaezoo.utils.errors import RegistryError

_DEVICE = re.compile(
    r"(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³]) *(\..*)?", re.IGNORECASE
)
_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f<>:"|?*\\]')
_MAX_NAME_BYTES = 255
_HUB_URL = re.compile(r"hf://([^/]+/[^/@]+)@([0-9a-f]{40})/(.+)")


def path_fault(path: str) -> str | None:
    """Why a relative path is refused; None if it is safe on every operating system."""
    if not path or len(path) > 4 * _MAX_NAME_BYTES:
        return "is empty or too long"
    if path.startswith(("/", "~")):
        return "is absolute; write it relative to the registry file"
    if _FORBIDDEN.search(path):
        return "has a character that is not allowed in file names on every operating system"
    for part in path.split("/"):
        if part in ("", ".", ".."):
            return "has an empty part, '.' or '..'; write the direct path from the registry file"
        if (
            part.endswith((".", " "))
            or part.startswith(" ")
            or len(part.encode()) > _MAX_NAME_BYTES
        ):
            return f"has the part {part!r}, which not every operating system can store"
        if _DEVICE.fullmatch(part):
            return f"has the part {part!r}, which is a device on Windows"
    return None


def parse_hub_url(source: str) -> tuple[str, str, str] | None:
    """Repository, commit and file of ``hf://owner/repo@commit/file``; None for other forms."""
    match = _HUB_URL.fullmatch(source)
    if match is None or path_fault(match[1]) or path_fault(match[3]):
        return None
    return match[1], match[2], match[3]


def split_url(url: str) -> SplitResult | None:
    """The parts of a URL; None if it is not valid."""
    try:
        return urlsplit(url)
    except ValueError:  # for example brackets without an IPv6 address
        return None


def resolve_inside(root: Path, path: str) -> Path:
    """The file at ``path`` below the folder ``root``.

    Raises:
        RegistryError: the path, or a symbolic link in it, leads out of the folder.
    """
    if reason := path_fault(path):
        raise RegistryError(f"path {path!r} {reason}")
    target = root.joinpath(*PurePosixPath(path).parts)
    try:
        leads_out = not target.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError) as error:
        raise RegistryError(f"path {path!r} cannot be resolved: {error}") from error
    if leads_out:
        raise RegistryError(f"path {path!r} leads out of {root} through a symbolic link")
    return target
