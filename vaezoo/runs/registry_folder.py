"""Adds entries and their files to the folder of a registry."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock
from pydantic import TypeAdapter, ValidationError

from vaezoo.pretrained.card import card
from vaezoo.pretrained.entry import FORMAT, WeightsEntry, parse_registry
from vaezoo.pretrained.entry_types import OneLine, WeightsId
from vaezoo.pretrained.loading import WEIGHTS_FILE
from vaezoo.pretrained.names import resolve_inside
from vaezoo.pretrained.registries import REGISTRY_FILE, Registry, RegistryEntry, default_prefix
from vaezoo.spec.dump import dump
from vaezoo.utils.digests import check_png
from vaezoo.utils.errors import UsageError
from vaezoo.utils.files import write_bytes, write_text
from vaezoo.utils.locks import acquire

_WEIGHTS_FOLDER = "weights"
_CARD_PICTURES = ("samples", "reconstructions", "traversals", "interpolations")
_FILE_HEADER = (
    "# Pretrained weights by name. `vaezoo publish` adds entries; an id always means the same "
    "weights.\n"
)


def check_texts(entry_id: str, texts: Mapping[str, str]) -> None:
    """Raises UsageError if a registry cannot contain the id or a text."""
    try:
        TypeAdapter(WeightsId).validate_python(entry_id)
    except ValidationError as error:
        message = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise UsageError(f"--name {entry_id}: must be {message}") from None
    for name, text in texts.items():
        try:
            TypeAdapter(OneLine).validate_python(text)
        except ValidationError:
            label = name.replace("_", " ")
            raise UsageError(f"{label}: must be one line of 1 to 2,000 characters") from None


def add_entry(
    folder: Path,
    entry_folder: str,
    entry: WeightsEntry,
    pictures: Path | None,
    update: Callable[[WeightsEntry], WeightsEntry] = lambda existing: existing,
) -> RegistryEntry:
    """Writes the card of an entry with its pictures, and adds the entry to the registry file.

    Args:
        folder: the folder of the registry.
        entry_folder: that of the entry, relative to ``folder``.
        entry: the new entry, whose other files are there.
        pictures: the folder that the pictures are copied from, or None.
        update: is called with each existing entry, which its result replaces.
    """
    path, target = folder / REGISTRY_FILE, folder / entry_folder
    if pictures is not None:
        for name in _picture_names(pictures):
            picture = pictures / f"{name}.png"
            check_png(picture, data := picture.read_bytes())
            write_bytes(target / picture.name, data)
    write_card(folder, entry_folder, entry)
    entries = _append_entry(path, entry, update)
    return RegistryEntry(Registry("", str(path), folder, entries), entry)


def write_card(folder: Path, entry_folder: str, entry: WeightsEntry) -> None:
    """Writes the card of an entry, with the pictures that are in its folder."""
    path, target = folder / REGISTRY_FILE, folder / entry_folder
    prefix = Registry(default_prefix(path), str(path), folder, ()).qualify("")
    write_text(target / "README.md", card(entry, _picture_names(target), prefix))


def _picture_names(folder: Path) -> list[str]:
    """The names of the pictures of a card that are in a folder."""
    # those of the parts of data are named samples.PART
    stems = sorted(path.stem for path in folder.glob("*.png"))
    return [stem for kind in _CARD_PICTURES for stem in stems if stem.split(".")[0] == kind]


def _append_entry(
    registry_file: Path, entry: WeightsEntry, update: Callable[[WeightsEntry], WeightsEntry]
) -> tuple[WeightsEntry, ...]:
    """Adds an entry to a registry file, under a lock, and returns all its entries."""
    lock = registry_file.with_name(f".{registry_file.name}.lock")
    with acquire(FileLock(lock), "adding an entry"):
        try:
            existing = read_entries(registry_file, new_id=entry.id)
            entries = (*map(update, existing), entry)
            text = _dump_registry(entries)
            # Checks that the file can be read again; it could be too large, for example.
            parse_registry(text.encode(), str(registry_file))
            write_text(registry_file, text)
            return entries
        finally:
            lock.unlink()


def read_entries(registry_file: Path, *, new_id: str) -> tuple[WeightsEntry, ...]:
    """The entries of a registry file; raises UsageError if one of them has ``new_id``."""
    entries: tuple[WeightsEntry, ...] = ()
    if registry_file.is_file():
        entries = parse_registry(registry_file.read_bytes(), str(registry_file))
    if any(entry.id == new_id for entry in entries):
        raise UsageError(
            f"{new_id} already exists in {registry_file}, and an id never changes; "
            "give it another version"
        )
    return entries


def _dump_registry(entries: tuple[WeightsEntry, ...]) -> str:
    """The text of a registry file."""
    plain = [entry.model_dump(mode="json", exclude_defaults=True) for entry in entries]
    return _FILE_HEADER + dump({"registry": FORMAT, "entries": plain})


@contextmanager
def new_entry_folder(folder: Path, entry_id: str) -> Iterator[str]:
    """Creates the folder of an entry, and removes it again if the block fails.

    Args:
        folder: the folder of the registry.
        entry_id: the id of the entry.

    Yields:
        The path of the new folder relative to ``folder``.

    Raises:
        UsageError: it exists already.
        RegistryError: a symbolic link leads out of the folder of the registry.
    """
    path = f"{_WEIGHTS_FOLDER}/{re.sub('[/@]', '-', entry_id)}"
    resolve_inside(folder, f"{path}/{WEIGHTS_FILE}")  # loading refuses links out of the folder
    folder = folder / path
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise UsageError(
            f"{folder} exists already; remove it, or publish under another id"
        ) from None
    try:
        yield path
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
