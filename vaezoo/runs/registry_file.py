"""Adds entries to a registry file, and to an index beside it once there are many."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from filelock import FileLock

from vaezoo.pretrained.entry import (
    FORMAT,
    LIMITS,
    MAX_ENTRIES,
    FeaturesEntry,
    IndexFile,
    WeightsEntry,
    parse_entry,
    parse_registry,
)
from vaezoo.pretrained.index import Index, IndexRow, parse_index, row_of
from vaezoo.pretrained.locations import REGISTRY_FILE
from vaezoo.pretrained.names import resolve_inside
from vaezoo.pretrained.registries import read_entry, read_registry
from vaezoo.pretrained.registry import Registry
from vaezoo.spec.dump import dump
from vaezoo.spec.tree import is_within
from vaezoo.utils.errors import RegistryError, UsageError
from vaezoo.utils.files import write_bytes, write_text
from vaezoo.utils.locks import acquire

_ENTRIES_FOLDER = "entries"
_HASH_LENGTH = 12
_FILE_HEADER = (
    "# Pretrained weights by name. `vaezoo publish` adds entries; an id always means the same "
    "weights.\n"
)


@dataclass(frozen=True)
class EntryChange:
    """A change of an entry that the registry lists already.

    Attributes:
        id: the entry.
        change: returns what takes its place.
    """

    id: str
    change: Callable[[WeightsEntry], WeightsEntry]


def open_folder(folder: Path, *, new_id: str) -> Registry:
    """The registry in a folder, which may be empty.

    Raises:
        UsageError: it lists ``new_id`` already.
        RegistryError: its file or its index is not valid.
    """
    path = folder / REGISTRY_FILE
    registry = Registry("", str(path), folder)
    if path.is_file():
        registry = read_registry(registry)
    if new_id in (*registry.ids, *registry.features_ids):
        raise UsageError(
            f"{new_id} already exists in {path}, and an id never changes; give it another version"
        )
    return registry


def append_entry(
    folder: Path, entry: WeightsEntry, change: EntryChange | None
) -> tuple[Registry, WeightsEntry | None]:
    """Adds an entry to a registry, under a lock.

    Files are written before ``registry.yaml`` names them, and have their hash in their name, so
    that a reader, or a process that is killed, never meets half of a change. What the file named
    before stays until the next entry is added, for those who have read it already.

    Returns:
        The registry and the entry that ``change`` made, None if the registry lists no such entry.
    """
    lock = folder / f".{REGISTRY_FILE}.lock"
    with acquire(FileLock(lock), "adding an entry"):
        try:
            registry = open_folder(folder, new_id=entry.id)
            changed = None
            if change is not None and change.id in registry.ids:
                changed = change.change(read_entry(registry, change.id).weights)
            return _write(registry, folder, entry, changed), changed
        finally:
            lock.unlink()


def _write(
    registry: Registry, folder: Path, entry: WeightsEntry, changed: WeightsEntry | None
) -> Registry:
    """Writes the registry with a new entry and a changed one, and returns it.

    Its file lists the entries as long as a reader accepts it; after that it names an index.
    """
    path = folder / REGISTRY_FILE
    entries = [
        changed if changed is not None and old.id == changed.id else old
        for old in registry.entries
    ]
    entries.append(entry)
    text = _dump_registry(entries, registry.features)
    is_small = len(entries) <= MAX_ENTRIES and is_within(text, LIMITS)
    if is_small and not [*registry.index]:
        _write_registry(path, text)
        return replace(registry, entries=tuple(entries))
    if changed is not None and changed.id in registry.index:
        entries.append(changed)
    indexes = _named_index(path, registry.index)
    index = registry.index.changed([_write_entry(folder, each) for each in entries])
    index_file = _write_index(folder, index)
    _write_registry(path, _dump_registry([], registry.features, index_file))
    _remove_older(folder, {**indexes, index_file.path: index})
    return replace(registry, entries=(), index=index)


def _write_registry(path: Path, text: str) -> None:
    """Writes a registry file, after a check that it can be read again."""
    parse_registry(text.encode(), str(path))
    write_text(path, text)


def _dump_registry(
    entries: Sequence[WeightsEntry],
    features: Sequence[FeaturesEntry],
    index: IndexFile | None = None,
) -> str:
    """The text of a registry file."""
    content: dict[str, object] = {"registry": FORMAT}
    if index is not None:
        content["index"] = index.model_dump()
    content["entries"] = [_plain(each) for each in entries]
    if features:
        content["features"] = [_plain(each) for each in features]
    return _FILE_HEADER + dump(content)


def _plain(entry: WeightsEntry | FeaturesEntry) -> dict[str, object]:
    return entry.model_dump(mode="json", exclude_defaults=True)


def _write_entry(folder: Path, entry: WeightsEntry) -> IndexRow:
    """Writes the file of an entry, which can be read again, and returns its row of the index.

    Raises:
        RegistryError: the entry is too large.
    """
    data = dump({"registry": FORMAT, "entry": _plain(entry)}).encode()
    parse_entry(data, entry.id)
    digest = hashlib.sha256(data).hexdigest()
    name = f"{entry.tag}-{entry.version}.{digest[:_HASH_LENGTH]}.yaml"
    path = f"{_ENTRIES_FOLDER}/{entry.architecture}/{name}"
    write_bytes(folder / path, data)
    return row_of(entry, path=path, sha256=digest, size=len(data))


def _write_index(folder: Path, index: Index) -> IndexFile:
    data = index.dump()
    digest = hashlib.sha256(data).hexdigest()
    path = f"{_ENTRIES_FOLDER}/index.{digest[:_HASH_LENGTH]}.jsonl"
    write_bytes(folder / path, data)
    return IndexFile(path=path, sha256=digest, size=len(data))


def _named_index(path: Path, index: Index) -> dict[str, Index]:
    """The index of a registry file by its path, if the file names one."""
    file = parse_registry(path.read_bytes(), str(path)).index if path.is_file() else None
    return {} if file is None else {file.path: index}


def _remove_older(folder: Path, indexes: Mapping[str, Index]) -> None:
    """Removes the indexes, and the files of changed entries, of older generations.

    Args:
        folder: the folder of the registry.
        indexes: the index that the registry names and the one that it named before, by path. What
            they list stays, because others may have read the registry file before it changed.
    """
    for path in (folder / _ENTRIES_FOLDER).glob("index.*.jsonl"):
        if f"{_ENTRIES_FOLDER}/{path.name}" in indexes:
            continue
        with contextlib.suppress(OSError, RegistryError):  # a file that stays does no harm
            older = parse_index(path.read_bytes(), path.name)
            for entry in older.paths_without([*indexes.values()]):
                if entry.startswith(f"{_ENTRIES_FOLDER}/"):
                    resolve_inside(folder, entry).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            path.unlink()
