"""Fetches files that a registry lists, verified: from its folder, the cache or the network."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from vaezoo.pretrained import download
from vaezoo.pretrained.cache import Cache, ChecksumMismatch, read_verified
from vaezoo.pretrained.entry_parts import File
from vaezoo.pretrained.locations import WEIGHTS_PACKAGE
from vaezoo.pretrained.registry import Registry
from vaezoo.utils.errors import RegistryError, UnavailableError
from vaezoo.utils.paths import is_file


def fetch(registry: Registry, file: File, name: str) -> bytearray:
    """The verified bytes of a file, from the registry's folder, the cache, or the network.

    Args:
        registry: the registry that lists the file.
        file: the file.
        name: the entry that it belongs to, or the registry, for messages.

    Raises:
        RegistryError: a source had other bytes than declared, or leads out of the folder or to
            an address that is not https, and no other source has the file.
        UnavailableError: no source has the file, or it is not on this machine and
            ``VAEZOO_OFFLINE`` is set.
        VaezooError: the disk of the cache is full, or fails in another way.
    """
    if registry.lacks_package:
        raise UnavailableError(
            f"{name}: the pretrained weights are a package of their own; "
            f"pip install {WEIGHTS_PACKAGE}"
        )
    cache, failures, damaged = Cache(), [], False
    locations: list[Path | str] = []
    for source in file.sources:
        try:
            locations.append(registry.locate(source))
        except RegistryError as error:
            failures.append(str(error))
            damaged = True
    for read in (
        *(partial(_read_local, file, location) for location in locations),
        partial(cache.get, file),
    ):
        try:
            if (data := read()) is not None:
                return data
        except ChecksumMismatch as error:
            failures.append(str(error))
            damaged = True
        except OSError as error:
            failures.append(f"{error.filename}: {error.strerror or error}")
    for location in locations:
        if isinstance(location, Path):
            failures += [] if is_file(location) else [f"no {location}"]
            continue
        try:
            download.check_online(location)  # before the cache makes a file for it
            return cache.add(file, location, partial(download.download_file, location))
        except RegistryError as error:
            failures.append(str(error))
            damaged = True
        except UnavailableError as error:
            failures.append(str(error))
    reasons = "; ".join(failures)
    if damaged:
        raise RegistryError(f"{name}: {reasons}")
    has_url = any(isinstance(location, str) for location in locations)
    hint = (
        f"; while online: vaezoo weights pull {name}" if has_url and download.is_offline() else ""
    )
    raise UnavailableError(f"{name}: {file.name} is not available: {reasons}{hint}")


def _read_local(file: File, location: Path | str) -> bytearray | None:
    """The bytes of a file in the registry's folder; None if it is not there."""
    is_local = isinstance(location, Path) and is_file(location)
    return read_verified(Path(location), file, str(location)) if is_local else None
