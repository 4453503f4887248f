"""Registries of pretrained weights, each with its own prefix, and look-up of entries by name."""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import os
import re
import tempfile
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from urllib.parse import quote, urlsplit, urlunsplit

from vaezoo.plugins import discovery
from vaezoo.pretrained import download, hub_files
from vaezoo.pretrained.entry import LIMITS, WeightsEntry, parse_registry
from vaezoo.pretrained.names import parse_hub_url, resolve_inside, split_url
from vaezoo.utils.errors import (
    PluginError,
    RegistryError,
    UnavailableError,
    UsageError,
    VaezooError,
)
from vaezoo.utils.files import write_bytes
from vaezoo.utils.packaged import ROOT
from vaezoo.utils.paths import cache_home, expand_user

REGISTRIES_VARIABLE = "VAEZOO_REGISTRIES"
"""The environment variable with additional registries, separated by commas."""
REGISTRY_FILE = "registry.yaml"
_PREFIX = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_URL = re.compile(r"(https|hf)://")


@dataclass(frozen=True)
class Registry:
    """The content of one registry file.

    Attributes:
        prefix: the part of its entries' names before the colon; empty for vaezoo's own registry.
        origin: the path or URL of the file.
        root: the folder that relative sources refer to; None if the registry was read from a URL.
        entries: the weights that it lists.
    """

    prefix: str
    origin: str
    root: Path | None
    entries: tuple[WeightsEntry, ...]

    def full_name(self, weights: WeightsEntry) -> str:
        """The id of an entry with the prefix of the registry."""
        return self.qualify(weights.id)

    def qualify(self, name: str) -> str:
        """An id or a short name with the prefix of the registry."""
        return f"{self.prefix}:{name}" if self.prefix else name

    def locate(self, source: str) -> Path | str:
        """The path or the URL of a file from its ``sources`` field.

        Raises:
            RegistryError: a relative path leads out of the registry's folder.
        """
        if _URL.match(source):
            return source
        if self.root is not None:
            return resolve_inside(self.root, source)
        if self.origin.startswith(hub_files.SCHEME):
            return f"{self.origin.rpartition('/')[0]}/{source}"
        base = urlsplit(self.origin)
        folder = base.path.rpartition("/")[0]
        # the query stays: it is what lets a user read files of this host, such as a token
        return urlunsplit((base.scheme, base.netloc, f"{folder}/{quote(source)}", base.query, ""))


@dataclass(frozen=True)
class RegistryEntry:
    """One set of weights together with the registry that lists it."""

    registry: Registry
    weights: WeightsEntry

    @property
    def name(self) -> str:
        """The id with the prefix of the registry."""
        return self.registry.full_name(self.weights)


def own_registry_path() -> Path:
    """The path of the registry that comes with vaezoo."""
    return ROOT / REGISTRY_FILE


def default_prefix(path: Path) -> str:
    """The prefix of a registry file if none is specified; empty for vaezoo's own registry."""
    return (
        ""
        if path.resolve() == own_registry_path().resolve()
        else _parse_location(str(path)).prefix
    )


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
    """
    locations = _registry_locations(extra)
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
    for prefix in dict.fromkeys(location.prefix for location in _registry_locations(extra)):
        try:
            registries += open_registries(extra, only_prefix=prefix)
        except VaezooError as error:
            failures.append((prefix, error))
    return registries, failures


@dataclass(frozen=True)
class _RegistryLocation:
    """A registry's prefix and its path, URL, or ``package:path`` in the package of a plugin."""

    prefix: str
    location: str
    plugin: str = ""

    def resolve(self) -> str:
        """The path or URL.

        A plugin's package is searched only here, so that a missing one affects no other registry.
        """
        return _plugin_registry(self.plugin, self.location) if self.plugin else self.location


def _registry_locations(extra: Iterable[str]) -> list[_RegistryLocation]:
    locations = [_RegistryLocation("", str(own_registry_path()))]
    for info in discovery.catalogue().plugins:
        locations += [
            _RegistryLocation(prefix, target, info.name) for prefix, target in info.registries
        ]
    texts = [*os.environ.get(REGISTRIES_VARIABLE, "").split(","), *extra]
    return locations + [_parse_location(text.strip()) for text in texts if text.strip()]


def _parse_location(text: str) -> _RegistryLocation:
    """Parses ``[prefix=]path-or-url``."""
    prefix, equals, location = text.partition("=")
    if not (equals and _PREFIX.fullmatch(prefix)):
        if equals and not _URL.match(text) and not expand_user(text).exists():
            raise UsageError(
                f"registry {text}: a prefix is lower-case words and numbers joined by hyphens"
            )
        prefix, location = "", text
    if "://" in location and not _URL.match(location):
        raise UsageError(f"registry {location}: only https:// and hf:// URLs are supported")
    if hub_url := parse_hub_url(location):
        folder = hub_url[0].partition("/")[2]
    elif _URL.match(location):
        parts = split_url(location)
        folder = PurePosixPath(parts.path if parts else "").parent.name
    else:
        path = expand_user(location)
        location = str(path / REGISTRY_FILE if path.is_dir() else path)
        folder = Path(location).absolute().parent.name
    default = re.sub(r"[^a-z0-9]+", "-", folder.lower()).strip("-")
    return _RegistryLocation(prefix or default or "registry", location)


def _plugin_registry(plugin: str, target: str) -> str:
    """The path or URL of a plugin's registry, which is given as a URL or as ``package:path``."""
    if _URL.match(target):
        return target
    package, _, path = target.partition(":")
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):  # a parent is not a package, or the name is empty
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise PluginError(
            f"plugin {plugin!r} provides the registry {target!r}, "
            f"but there is no package {package!r}"
        )
    return str(resolve_inside(Path(next(iter(spec.submodule_search_locations))), path))


def _open_registry(prefix: str, location: str) -> Registry:
    if _URL.match(location):
        return Registry(prefix, location, None, _download_entries(location))
    path = Path(location)
    try:
        modified = path.stat().st_mtime_ns
        return Registry(prefix, location, path.parent, _read_entries(location, modified))
    except OSError as error:
        raise UnavailableError(
            f"registry {location}: cannot be read: {error.strerror or error}"
        ) from error


@lru_cache(maxsize=32)
def _read_entries(location: str, modified: int) -> tuple[WeightsEntry, ...]:
    """The entries of a local file, cached until its modification time changes."""
    path = Path(location)
    if path.stat().st_size > LIMITS.bytes:
        raise RegistryError(f"{location}: larger than {LIMITS.bytes // 1024} KiB; {LIMITS.advice}")
    return parse_registry(path.read_bytes(), location)


def _download_entries(url: str) -> tuple[WeightsEntry, ...]:
    """The entries of a registry on the network, or of its last valid copy if it is unreachable."""
    copy = cache_home() / "registries" / f"{hashlib.sha256(url.encode()).hexdigest()}.yaml"
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / REGISTRY_FILE
        try:
            download.download_file(url, target, LIMITS.bytes)
        except UnavailableError as error:
            if not copy.is_file():
                raise
            if not download.is_offline():
                day = datetime.fromtimestamp(copy.stat().st_mtime).date()
                warnings.warn(f"registry {error}; its copy of {day} is used", stacklevel=2)
            return parse_registry(copy.read_bytes(), url)
        data = target.read_bytes()
    entries = parse_registry(data, url)
    with contextlib.suppress(VaezooError):  # a read-only cache folder stores no copy
        write_bytes(copy, data)
    return entries


def find_entry(name: str, extra: Iterable[str] = ()) -> RegistryEntry:
    """Finds an entry by its name.

    Args:
        name: ``architecture/tag@version``; without ``@version`` the newest version that is not
            revoked; ``architecture-tag``; or ``architecture`` if it has only one tag.
            ``prefix:name`` selects another registry than vaezoo's own.
        extra: more registries, as in ``open_registries``.

    Raises:
        UsageError: there is no such entry, or more than one; the message suggests similar names.
    """
    prefix, _, short_name = name.rpartition(":")
    registries = open_registries(extra, only_prefix=prefix)
    matches = [
        RegistryEntry(registry, weights)
        for registry in registries
        for weights in registry.entries
        if _matches_name(short_name, weights)
    ]
    newest: dict[str, RegistryEntry] = {}
    for entry in sorted(
        matches, key=lambda match: (match.weights.status != "revoked", match.weights.version)
    ):
        newest[entry.weights.id.partition("@")[0]] = entry
    if len(newest) == 1:
        return next(iter(newest.values()))
    if newest:
        names = ", ".join(sorted(entry.name for entry in newest.values()))
        raise UsageError(f"{name!r} is ambiguous: it may be any of {names}")
    with contextlib.suppress(
        VaezooError
    ):  # similar names may be in other registries; errors in those do not matter
        registries = open_registries(extra)
    raise UsageError(f"no weights named {name!r}{_similar_names(short_name, registries)}")


def _matches_name(name: str, weights: WeightsEntry) -> bool:
    base = weights.id.partition("@")[0]
    names = (base, base.replace("/", "-"))
    return (
        name == weights.architecture
        or name in names
        or name in [f"{each}@{weights.version}" for each in names]
    )


def _similar_names(name: str, registries: Iterable[Registry]) -> str:
    """The end of an error message: similar names, or where all names are listed."""
    names = {
        registry.full_name(weights).partition("@")[0]: None
        for registry in registries
        for weights in registry.entries
    }
    full_names = {each.replace("/", "-"): each for each in names}
    close = difflib.get_close_matches(
        name.partition("@")[0].replace("/", "-"), full_names, n=3, cutoff=0.5
    )
    if close:
        return f"; did you mean {' or '.join(full_names[each] for each in close)}?"
    return (
        "; vaezoo weights list shows them all" if names else "; the available registries list none"
    )
