"""The registries in reach, each under its own prefix, and entries found by name."""

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
from urllib.parse import quote

from vaezoo.plugins import discovery
from vaezoo.pretrained import download as http
from vaezoo.pretrained import entry as schema
from vaezoo.pretrained.entry import WeightsEntry
from vaezoo.pretrained.names import hub, inside
from vaezoo.utils.errors import PluginError, RegistryError, UnavailableError, UsageError, VaezooError
from vaezoo.utils.files import write_bytes
from vaezoo.utils.packaged import ROOT
from vaezoo.utils.paths import cache_home

VARIABLE = "VAEZOO_REGISTRIES"
FILE = "registry.yaml"
_PREFIX = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_ADDRESS = re.compile(r"(https|hf)://")


@dataclass(frozen=True)
class Registry:
    """One registry file.

    Attributes:
        prefix: what stands before the colon in the names of its entries; empty for vaezoo's own.
        origin: the file or address it was read from.
        root: the folder that relative sources start from; None where it was read from an address.
        entries: what it lists.
    """

    prefix: str
    origin: str
    root: Path | None
    entries: tuple[WeightsEntry, ...]

    def name(self, entry: WeightsEntry) -> str:
        """The whole name of an entry."""
        return self.prefixed(entry.id)

    def prefixed(self, name: str) -> str:
        """An id or a short name as it is said from outside."""
        return f"{self.prefix}:{name}" if self.prefix else name

    def place(self, source: str) -> Path | str:
        """Where a source is: a file below the registry's folder, or an address.

        Raises:
            RegistryError: it leads out of the folder.
        """
        if _ADDRESS.match(source):
            return http.address(source)
        if self.root is not None:
            return inside(self.root, source)
        return f"{http.address(self.origin).rpartition('/')[0]}/{quote(source)}"


@dataclass(frozen=True)
class RegistryEntry:
    """An entry and the registry it is in."""

    registry: Registry
    entry: WeightsEntry

    @property
    def name(self) -> str:
        """The whole name."""
        return self.registry.name(self.entry)


def own() -> Path:
    """The registry that comes with vaezoo."""
    return ROOT / FILE


def prefix_of(place: Path) -> str:
    """What stands before the names in a registry file where nobody says otherwise; empty for vaezoo's own."""
    return "" if place.resolve() == own().resolve() else _named(str(place)).prefix


def registries(also: Iterable[str] = (), only: str | None = None) -> tuple[Registry, ...]:
    """vaezoo's own registry, those of plugins, of ``VAEZOO_REGISTRIES``, and ``also``.

    Args:
        also: ``[prefix=]path-or-address``; without a prefix it is the name of the folder that the file is in.
        only: open just the registry with this prefix, so that no other one that is broken or out of reach matters.

    Raises:
        RegistryError: a registry file is not valid.
        UsageError: two registries have one prefix, or none has that of ``only``.
    """
    places = _places(also)
    prefixes = [place.prefix for place in places]
    if only is not None and only not in prefixes:
        known = ", ".join(sorted(filter(None, prefixes))) or "none"
        raise UsageError(f"no registry with the prefix {only!r}; known: {known}")
    wanted = [(place.prefix, place.resolved()) for place in places if only in (None, place.prefix)]
    wanted = list(dict.fromkeys(wanted))
    for prefix, _ in wanted:
        twins = [where for other, where in wanted if other == prefix]
        if len(twins) > 1:
            raise UsageError(f"registries {' and '.join(twins)} have one prefix; say another-name={twins[-1]}")
    return tuple(_open(prefix, where) for prefix, where in wanted)


@dataclass(frozen=True)
class _Place:
    """Where a registry is: a file, an address, or ``package:path`` of a plugin."""

    prefix: str
    where: str
    plugin: str = ""

    def resolved(self) -> str:
        """The file or address; one of a plugin is looked for only here, so that it can be amiss where nobody asks."""
        return _resource(self.plugin, self.where) if self.plugin else self.where


def _places(also: Iterable[str]) -> list[_Place]:
    """Each registry in reach."""
    found = [_Place("", str(own()))]
    for info in discovery.catalogue().plugins:
        found += [_Place(prefix, target, info.name) for prefix, target in info.registries]
    said = [*os.environ.get(VARIABLE, "").split(","), *also]
    return found + [_named(text.strip()) for text in said if text.strip()]


def _named(text: str) -> _Place:
    prefix, equals, place = text.partition("=")
    if not (equals and _PREFIX.fullmatch(prefix)):
        if equals and not _ADDRESS.match(text) and not Path(text).expanduser().exists():
            raise UsageError(f"registry {text}: a prefix is lower-case words and numbers joined by hyphens")
        prefix, place = "", text
    if "://" in place and not _ADDRESS.match(place):
        raise UsageError(f"registry {place}: only https:// and hf:// addresses are read")
    if repository := hub(place):
        folder = repository[0].partition("/")[2]
    elif _ADDRESS.match(place):
        folder = PurePosixPath(place).parent.name
    else:
        path = Path(place).expanduser()
        place = str(path / FILE if path.is_dir() else path)
        folder = Path(place).absolute().parent.name
    guess = re.sub(r"[^a-z0-9]+", "-", folder.lower()).strip("-")
    return _Place(prefix or guess or "registry", place)


def _resource(plugin: str, target: str) -> str:
    """The file or address of a registry that a plugin brings."""
    if _ADDRESS.match(target):
        return target
    package, _, path = target.partition(":")
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):  # a part of its name is no package
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise PluginError(f"plugin {plugin!r} brings the registry {target!r}, but there is no package {package!r}")
    return str(inside(Path(next(iter(spec.submodule_search_locations))), path))


def _open(prefix: str, where: str) -> Registry:
    if _ADDRESS.match(where):
        return Registry(prefix, where, None, _fetched(where))
    path = Path(where)
    try:
        stamp = path.stat().st_mtime_ns
        return Registry(prefix, where, path.parent, _parsed(where, stamp))
    except OSError as error:
        raise UnavailableError(f"registry {where}: cannot be read: {error.strerror or error}") from error


@lru_cache(maxsize=32)
def _parsed(place: str, stamp: int) -> tuple[WeightsEntry, ...]:
    """The entries of a file as it was at a time."""
    path = Path(place)
    if path.stat().st_size > schema.LIMITS.bytes:
        raise RegistryError(f"{place}: larger than {schema.LIMITS.bytes // 1024} KiB; {schema.LIMITS.why}")
    return schema.entries(path.read_bytes(), place)


def _fetched(address: str) -> tuple[WeightsEntry, ...]:
    """The entries of a registry on the network, or of its last good copy where it cannot be had."""
    kept = cache_home() / "registries" / f"{hashlib.sha256(address.encode()).hexdigest()}.yaml"
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder) / FILE
        try:
            http.download(http.address(address), fresh, schema.LIMITS.bytes)
        except UnavailableError as error:
            if not kept.is_file():
                raise
            if not http.offline():
                day = datetime.fromtimestamp(kept.stat().st_mtime).date()
                warnings.warn(f"registry {error}; its copy of {day} is used", stacklevel=2)
            return schema.entries(kept.read_bytes(), address)
        data = fresh.read_bytes()
    found = schema.entries(data, address)
    with contextlib.suppress(VaezooError):  # a read-only home keeps no copy
        write_bytes(kept, data)
    return found


def find(name: str, also: Iterable[str] = ()) -> RegistryEntry:
    """The entry that a name means.

    Args:
        name: ``architecture/tag@version``; without the version the newest that stands; ``architecture-tag``;
            ``architecture`` where it has one tag alone. ``prefix:`` before it for another registry than vaezoo's own.
        also: more registries, as ``registries`` takes them.

    Raises:
        UsageError: no entry, or more than one; says the close matches.
    """
    prefix, _, rest = name.rpartition(":")
    known = registries(also, only=prefix)
    matches = [
        RegistryEntry(registry, entry) for registry in known for entry in registry.entries if _means(rest, entry)
    ]
    newest: dict[str, RegistryEntry] = {}
    for found in sorted(matches, key=lambda match: (match.entry.status != "revoked", match.entry.version)):
        newest[found.entry.id.partition("@")[0]] = found
    if len(newest) == 1:
        return next(iter(newest.values()))
    if newest:
        names = ", ".join(sorted(found.name for found in newest.values()))
        raise UsageError(f"{name!r} may be any of {names}; say which")
    with contextlib.suppress(VaezooError):  # what is like it may be in another
        known = registries(also)
    raise UsageError(f"no weights named {name!r}{_near(rest, known)}")


def _means(name: str, entry: WeightsEntry) -> bool:
    base = entry.id.partition("@")[0]
    names = (base, base.replace("/", "-"))
    return name == entry.architecture or name in names or name in [f"{each}@{entry.version}" for each in names]


def _near(name: str, known: Iterable[Registry]) -> str:
    names = {registry.name(entry).partition("@")[0]: None for registry in known for entry in registry.entries}
    short = {each.replace("/", "-"): each for each in names}
    close = difflib.get_close_matches(name.partition("@")[0].replace("/", "-"), short, n=3, cutoff=0.5)
    if close:
        return f"; did you mean {' or '.join(short[each] for each in close)}?"
    return "; vaezoo weights list shows them all" if names else "; the registries in reach list none"
