"""Opens registries of pretrained weights, each with its own prefix, and reads their entries."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
import warnings
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from pathlib import Path

from vaezoo.pretrained import download
from vaezoo.pretrained.entry import LIMITS, RegistryFile, parse_entry, parse_registry
from vaezoo.pretrained.fetching import fetch
from vaezoo.pretrained.index import Index, parse_index, row_of
from vaezoo.pretrained.locations import (
    REGISTRY_FILE,
    URL,
    folder_of_files,
    registry_locations,
)
from vaezoo.pretrained.registry import Registry, RegistryEntry, RegistryFeatures
from vaezoo.utils.errors import RegistryError, UnavailableError, UsageError, VaezooError
from vaezoo.utils.files import read_limited, write_bytes
from vaezoo.utils.paths import cache_home


def open_registries(
    extra: Iterable[str] = (), only_prefix: str | None = None
) -> tuple[Registry, ...]:
    """Opens vaezoo's own registry and those of plugins, of ``VAEZOO_REGISTRIES`` and of ``extra``.

    Args:
        extra: ``[prefix=]path-or-url``. The default prefix is the name of the file's folder.
        only_prefix: open only the registry with this prefix, so that errors in others do
            not matter.

    Raises:
        RegistryError: a registry file is not valid.
        UnavailableError: a registry cannot be read or downloaded.
        UsageError: two registries have the same prefix, or none has the prefix ``only_prefix``.
        PluginError: there is no package with the registry that a plugin names.
    """
    locations = registry_locations(extra)
    prefixes = [location.prefix for location in locations]
    if only_prefix is not None and only_prefix not in prefixes:
        known_prefixes = ", ".join(sorted(filter(None, prefixes))) or "none"
        raise UsageError(f"no registry with the prefix {only_prefix!r}; known: {known_prefixes}")
    resolved = [
        (location.prefix, location.resolve())
        for location in locations
        if only_prefix in (None, location.prefix)
    ]
    resolved = list(dict.fromkeys(resolved))
    for prefix, _ in resolved:
        same_prefix = [path for other, path in resolved if other == prefix]
        if len(same_prefix) > 1:
            raise UsageError(
                f"registries {' and '.join(same_prefix)} have the same prefix; "
                f"write another-name={same_prefix[-1]}"
            )
    return tuple(_open_registry(prefix, path) for prefix, path in resolved)


def open_each(extra: Iterable[str] = ()) -> tuple[list[Registry], list[tuple[str, VaezooError]]]:
    """As ``open_registries``, but those that cannot be opened keep no other from being opened.

    Returns:
        The registries, and the prefix and the error of each that cannot be opened.
    """
    registries: list[Registry] = []
    failures: list[tuple[str, VaezooError]] = []
    extra = list(extra)
    for prefix in dict.fromkeys(location.prefix for location in registry_locations(extra)):
        try:
            registries += open_registries(extra, only_prefix=prefix)
        except VaezooError as error:
            failures.append((prefix, error))
    return registries, failures


def _open_registry(prefix: str, location: str) -> Registry:
    if URL.match(location):
        return _with_index(Registry(prefix, location, None), _download_registry(location))
    path = Path(location)
    try:
        return _read_registry(prefix, location, path.stat().st_mtime_ns)
    except OSError as error:
        raise UnavailableError(
            f"registry {location}: cannot be read: {error.strerror or error}"
        ) from error


@lru_cache(maxsize=32)
def _read_registry(prefix: str, location: str, modified: int) -> Registry:
    """A registry on this machine, cached until the modification time of its file changes."""
    return read_registry(Registry(prefix, location, folder_of_files(location)))


def read_registry(registry: Registry) -> Registry:
    """A registry on this machine with what its file and its index list.

    Raises:
        RegistryError: one of them is not valid.
        OSError: the file cannot be read.
    """
    path = Path(registry.origin)
    data = read_limited(path, LIMITS.bytes)
    if len(data) > LIMITS.bytes:
        raise RegistryError(f"{path}: larger than {LIMITS.bytes // 1024} KiB; {LIMITS.advice}")
    return _with_index(registry, parse_registry(data, str(path)))


def _with_index(registry: Registry, content: RegistryFile) -> Registry:
    """The registry with the entries of its file, and with its index if it has one."""
    index = Index()
    if content.index is not None:
        name = f"registry {registry.origin}"
        data = fetch(registry, content.index.file, name)
        index = parse_index(bytes(data), f"{registry.origin}, {content.index.path}")
        listed = (*content.entries, *content.features)
        if twice := [entry.id for entry in listed if entry.id in index]:
            raise RegistryError(f"{registry.origin}: {twice[0]} is listed in the index, too")
    return replace(
        registry,
        entries=tuple(content.entries),
        index=index,
        features=tuple(content.features),
    )


def read_entry(registry: Registry, entry_id: str) -> RegistryEntry:
    """An entry of a registry, read from its own file if it is one of the index.

    Raises:
        RegistryError: its file is not valid, or its index describes another entry.
        UnavailableError: its file cannot be read or downloaded.
    """
    for weights in registry.entries:
        if weights.id == entry_id:
            return RegistryEntry(registry, weights)
    row, name = registry.index.row(entry_id), registry.qualify(entry_id)
    weights = parse_entry(bytes(fetch(registry, row.file, name)), f"{name}, {row.path}")
    if row_of(weights, path=row.path, sha256=row.sha256, size=row.size) != row:
        raise RegistryError(f"{name}: its index describes another entry than {row.path}")
    if weights.successor and weights.successor not in registry.ids:
        raise RegistryError(f"{name}: its successor {weights.successor} is not listed")
    return RegistryEntry(registry, weights)


def read_features(registry: Registry, entry_id: str) -> RegistryFeatures:
    """A feature extractor that a registry lists."""
    (entry,) = (each for each in registry.features if each.id == entry_id)
    return RegistryFeatures(registry, entry)


def _download_registry(url: str) -> RegistryFile:
    """A registry file on the network, or its last valid copy if it is unreachable."""
    copy = cache_home() / "registries" / f"{hashlib.sha256(url.encode()).hexdigest()}.yaml"
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / REGISTRY_FILE
        try:
            download.download_file(url, target, LIMITS.bytes, is_exact=False)
        except UnavailableError as error:
            if not copy.is_file():
                raise
            if not download.is_offline():
                day = datetime.fromtimestamp(copy.stat().st_mtime).date()
                warnings.warn(f"registry {error}; its copy of {day} is used", stacklevel=2)
            return parse_registry(copy.read_bytes(), url)
        data = target.read_bytes()
    content = parse_registry(data, url)
    with contextlib.suppress(VaezooError):  # a read-only cache folder stores no copy
        write_bytes(copy, data)
    return content
