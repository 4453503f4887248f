"""Which files of a folder are examples, and which of its folders are splits.

The rules are the same for every data set that is a folder of files. Endings are compared without
case. Hidden files and folders, and what systems leave in folders (``__MACOSX``, ``Thumbs.db``,
``desktop.ini``), are passed over in silence; all else that is not used is counted and named.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from vaezoo.data.phrases import count_phrase
from vaezoo.data.splits import SPLIT_NAMES
from vaezoo.utils.errors import DataError
from vaezoo.utils.paths import is_folder

_SYSTEM_FILES = frozenset({"__macosx", "thumbs.db", "desktop.ini"})
_SPELLINGS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing"),
}
_SPLIT_OF = {spelling: name for name, all_ in _SPELLINGS.items() for spelling in all_}


@dataclass(frozen=True)
class FolderFiles:
    """What is in a folder: the files that are used, and what is left out. All are sorted.

    Attributes:
        files: the files that have one of the endings.
        others: files with other endings.
        folders: folders that are not entered; if they are, links to folders that are read already.
        broken: what has one of the endings but is no file, such as a link that leads nowhere.
    """

    files: tuple[Path, ...] = ()
    others: tuple[Path, ...] = ()
    folders: tuple[Path, ...] = ()
    broken: tuple[Path, ...] = ()

    def __add__(self, other: FolderFiles) -> FolderFiles:
        names = [field.name for field in fields(self)]
        return FolderFiles(*(getattr(self, name) + getattr(other, name) for name in names))

    def left_out(self, root: Path) -> tuple[str, ...]:
        """The phrases of ``Dataset.left_out``, with names relative to ``root``."""

        def phrases(paths: Sequence[Path], one: str, many: str) -> tuple[str, ...]:
            return count_phrase([path.relative_to(root).as_posix() for path in paths], one, many)

        return (
            *phrases(self.others, "file with another ending", "files with other endings"),
            *phrases(self.folders, "sub-folder", "sub-folders"),
            *phrases(self.broken, "link that leads to no file", "links that lead to no file"),
        )


def _visible(folder: Path) -> Iterator[tuple[Path, str]]:
    """What is in a folder, and whether it is a ``folder``, a ``file`` or ``broken``.

    What is hidden, or was left there by systems, is passed over.
    """
    with os.scandir(folder) as entries:  # knows the kind of each without asking the disk again
        for entry in entries:
            if entry.name.startswith(".") or entry.name.lower() in _SYSTEM_FILES:
                continue
            try:
                kind = "folder" if entry.is_dir() else "file" if entry.is_file() else "broken"
            except OSError:  # a circle of links
                kind = "broken"
            yield Path(entry.path), kind


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path, kind in _visible(folder) if kind == "folder")


def list_files(folder: Path, suffixes: Collection[str], *, recursive: bool) -> FolderFiles:
    """Lists the files with given endings.

    Args:
        folder: the folder.
        suffixes: the endings in lower case, such as ``{".mid", ".midi"}``; files may have them in
            any case.
        recursive: whether sub-folders are entered; links are followed, but no folder is read
            twice.
    """
    found: dict[str, list[Path]] = {field.name: [] for field in fields(FolderFiles)}
    pending, entered = [folder], {folder.resolve()}
    while pending:
        for path, kind in _visible(pending.pop()):
            if kind == "folder":
                target = path.resolve() if recursive else path
                is_entered = recursive and target not in entered
                entered.add(target)
                (pending if is_entered else found["folders"]).append(path)
            elif path.suffix.lower() not in suffixes:
                found["others"].append(path)
            else:
                found["files" if kind == "file" else "broken"].append(path)
    return FolderFiles(**{name: tuple(sorted(paths)) for name, paths in found.items()})


def split_folders(root: Path) -> dict[str, Path]:
    """Finds the folders that are splits.

    They are called ``train`` or ``training``; ``validation``, ``valid``, ``val`` or ``dev``;
    ``test`` or ``testing``, each also with ``set`` behind it, in any case. Classes may have such
    names, too. A folder ``train`` is a split if a folder of validation or of test is beside it, if
    no other folder is beside it, or if it holds folders. Without a folder ``train``, one called
    ``test`` or ``validation`` among others is no split.

    Returns:
        The folders by the names ``train``, ``validation`` and ``test``, as far as they exist; with
        ``train``, or empty if ``root`` is not divided into splits.

    Raises:
        vaezoo.DataError: two folders are the same split, or there is nothing to train on.
    """
    folders = _folders(root)
    found: dict[str, Path] = {}
    for folder in folders:
        name = _split_name(folder.name)
        if name in found:
            raise DataError(
                f"{root}: the folders {found[name].name} and {folder.name} are both {name}; "
                "put their files in one of them"
            )
        if name:
            found[name] = folder
    if "train" in found:
        is_split = len(found) > 1 or len(folders) == 1 or bool(_folders(found["train"]))
        return {name: found[name] for name in SPLIT_NAMES if name in found} if is_split else {}
    if found and (len(found) == len(folders) or len(found) > 1):
        names = " and ".join(folder.name for folder in found.values())
        raise DataError(
            f"{root}: has {names} but no folder train; call the folder of training files train"
        )
    return {}


def _split_name(name: str) -> str:
    """The split that a folder's name stands for; empty if it is none."""
    return _SPLIT_OF.get(re.sub(r"[ _-]?set$", "", name.lower()), "")


def files_outside_splits(root: Path, splits: Mapping[str, Path]) -> tuple[str, ...]:
    """Phrases of what is in a folder, but in none of its folders of splits."""
    beside = list_files(root, (), recursive=False)
    folders = [path.name for path in beside.folders if path not in splits.values()]
    files = [path.name for path in beside.others]
    return (
        *count_phrase(files, "file beside the splits", "files beside the splits"),
        *count_phrase(folders, "folder beside the splits", "folders beside the splits"),
    )


def check_folder(root: Path, what: str) -> None:
    """Raises DataError if ``root`` is no folder; says of ``what`` one should be given."""
    if not is_folder(root):
        raise DataError(f"{root}: not a folder; give the path of a folder of {what}")
