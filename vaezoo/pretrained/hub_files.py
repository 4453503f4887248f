"""Files of the Hugging Face hub: also of private and gated repositories, and of its cache.

``huggingface_hub`` sends the user's token (``hf auth login`` or ``HF_TOKEN``) and keeps its own
cache; the bytes that it gives are checked by the caller, as those of any other source.
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

from vaezoo.pretrained.names import parse_hub_url
from vaezoo.utils.errors import RegistryError, UnavailableError, VaezooError, one_line
from vaezoo.utils.own_files import open_own_file

SCHEME = "hf://"
_CHUNK = 1 << 20
MISSING_LIBRARY = "private and gated repositories need huggingface-hub; pip install 'vaezoo[hub]'"


def parts_of(source: str) -> tuple[str, str, str]:
    """Repository, commit and file of ``hf://owner/repo@commit/file``.

    Raises:
        RegistryError: the source has another form.
    """
    parts = parse_hub_url(source)
    if parts is None:
        raise RegistryError(
            f"{source}: must be hf://owner/repo@commit/file with a full commit hash"
        )
    return parts


def public_url(source: str) -> str:
    """The address from which anyone may read a file of a public repository."""
    repository, commit, file = parts_of(source)
    return f"{_endpoint()}/{repository}/resolve/{commit}/{quote(file)}"


def _endpoint() -> str:
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def copy_hub_file(source: str, target: Path, limit: int, *, offline: bool) -> bool:
    """Copies a file from the cache of huggingface_hub, into which it is downloaded if need be.

    Args:
        source: ``hf://owner/repo@commit/file``.
        target: the file to write.
        limit: the most bytes that it may have; a larger one is not downloaded.
        offline: whether nothing is downloaded.

    Returns:
        False if huggingface_hub is not installed.

    Raises:
        UnavailableError: it is not in the cache and cannot be downloaded, or the hub has no
            repositories of this name.
        RegistryError: the file is larger than ``limit``.
    """
    try:
        import huggingface_hub  # noqa: F401 - _find_file needs it
    except ImportError:
        return False
    try:
        content = open(_find_file(source, limit, offline), "rb")  # noqa: SIM115 - closed below
    except VaezooError:
        raise
    except Exception as error:  # huggingface_hub and its HTTP library raise many types
        raise UnavailableError(f"{source}: {one_line(error)[:300]}") from error
    with content as read, open_own_file(target, append=False) as write:
        left = limit + 1  # one byte more than it may have, so that a longer file is noticed
        while left and (chunk := read.read(min(_CHUNK, left))):
            write.write(chunk)
            left -= len(chunk)
    return True


def _find_file(source: str, limit: int, offline: bool) -> str:
    """The path of a file in the cache of huggingface_hub; see ``copy_hub_file``."""
    import huggingface_hub as hub

    repository, commit, file = parts_of(source)
    cached = hub.try_to_load_from_cache(repository, file, revision=commit)
    if isinstance(cached, str):
        return cached
    if offline:
        raise UnavailableError(f"{source}: offline (VAEZOO_OFFLINE), not in the hub's cache")
    url = hub.hf_hub_url(repository, file, revision=commit, endpoint=_endpoint())
    size = hub.get_hf_file_metadata(url, endpoint=_endpoint()).size
    if size is not None and size > limit:
        raise RegistryError(f"{source}: has {size:,} bytes, and not at most {limit:,}")
    return hub.hf_hub_download(repository, file, revision=commit, endpoint=_endpoint())
