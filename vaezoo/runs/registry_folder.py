"""Adds entries and their files to the folder of a registry."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from pydantic import TypeAdapter, ValidationError

from vaezoo.pretrained.card import card
from vaezoo.pretrained.entry import WeightsEntry
from vaezoo.pretrained.entry_types import OneLine, WeightsId
from vaezoo.pretrained.loading import WEIGHTS_FILE
from vaezoo.pretrained.locations import REGISTRY_FILE, default_prefix
from vaezoo.pretrained.names import resolve_inside
from vaezoo.pretrained.registries import read_registry
from vaezoo.pretrained.registry import Registry, RegistryEntry
from vaezoo.runs.registry_file import EntryChange, append_entry
from vaezoo.utils.digests import check_png
from vaezoo.utils.errors import UsageError, VaezooError
from vaezoo.utils.files import write_bytes, write_text

_WEIGHTS_FOLDER = "weights"
_CARD_PICTURES = ("samples", "reconstructions", "traversals", "interpolations")


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
            raise UsageError(
                f"{label}: must be one line of 1 to 2,000 characters without control characters"
            ) from None


def add_entry(
    folder: Path,
    entry_folder: str,
    entry: WeightsEntry,
    pictures: Path | None,
    change: EntryChange | None = None,
) -> RegistryEntry:
    """Writes the card of an entry with its pictures, and adds the entry to the registry.

    Args:
        folder: the folder of the registry.
        entry_folder: that of the entry, relative to ``folder``.
        entry: the new entry, whose other files are there.
        pictures: the folder that the pictures are copied from, or None.
        change: a change of an older entry, whose card is written again if it has one.
    """
    target = folder / entry_folder
    if pictures is not None:
        for name in _picture_names(pictures):
            picture = pictures / f"{name}.png"
            check_png(picture, data := picture.read_bytes())
            write_bytes(target / picture.name, data)
    _write_card(folder, entry_folder, entry)
    registry, changed = append_entry(folder, entry, change)
    if changed is not None and changed.spec.path is not None:
        old_folder = str(PurePosixPath(changed.spec.path).parent)
        if (folder / old_folder / "README.md").is_file():
            _write_card(folder, old_folder, changed)
    return RegistryEntry(registry, entry)


def _write_card(folder: Path, entry_folder: str, entry: WeightsEntry) -> None:
    """Writes the card of an entry, with the pictures that are in its folder."""
    path, target = folder / REGISTRY_FILE, folder / entry_folder
    prefix = Registry(default_prefix(path), str(path), folder).qualify("")
    write_text(target / "README.md", card(entry, _picture_names(target), prefix))


def _picture_names(folder: Path) -> list[str]:
    """The names of the pictures of a card that are in a folder."""
    # those of the parts of data are named samples.PART
    stems = sorted(path.stem for path in folder.glob("*.png") if path.is_file())
    return [stem for kind in _CARD_PICTURES for stem in stems if stem.split(".")[0] == kind]


@contextmanager
def new_entry_folder(folder: Path, entry_id: str) -> Iterator[str]:
    """Creates the folder of an entry, and removes it again if the block fails.

    It stays if the registry lists the entry by then: what fails after that must not remove the
    files of a published entry.

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
    target = folder / path
    try:
        target.mkdir(parents=True)
    except FileExistsError:
        raise UsageError(
            f"{target} exists already; remove it, or publish under another id"
        ) from None
    try:
        yield path
    except BaseException:
        if not _may_list(folder, entry_id):
            shutil.rmtree(target, ignore_errors=True)
        raise


def _may_list(folder: Path, entry_id: str) -> bool:
    """Whether the registry in a folder lists an entry, or cannot be read."""
    path = folder / REGISTRY_FILE
    try:
        return path.is_file() and entry_id in read_registry(Registry("", str(path), folder)).ids
    except (OSError, VaezooError):
        return True
