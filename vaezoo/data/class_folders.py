"""Files in folders that are classes, below folders that may be splits."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from vaezoo.data.folders import (
    FolderFiles,
    check_folder,
    files_outside_splits,
    list_files,
    split_folders,
)
from vaezoo.data.phrases import count_phrase
from vaezoo.utils.errors import DataError, printable

Item: TypeAlias = tuple[Path, int | None]
"""A file and its label, None without classes."""


@dataclass(frozen=True)
class ClassFolders:
    """What a folder holds.

    Attributes:
        classes: the names of the classes, sorted; empty if there are none.
        items: the files of each folder of a split, by the name of the split; of ``train`` alone
            if there are no such folders.
        left_out: phrases of what is not used, for ``Dataset.left_out``.
    """

    classes: tuple[str, ...]
    items: Mapping[str, Sequence[Item]]
    left_out: tuple[str, ...]


def read_class_folders(root: Path, suffixes: Collection[str], what: str) -> ClassFolders:
    """Lists files ``class/file``, or ``file`` without classes, and the same below splits.

    A folder that holds folders has classes. The classes are those of training; a split with others
    is refused. Files beside the folders of classes and folders within them are left out.

    Args:
        root: the folder.
        suffixes: the endings of the files in lower case.
        what: names a file in messages, such as ``image``.

    Raises:
        DataError: ``root`` is no folder, a class or a split has no file, two classes differ in
            case only, most files are beside the classes, or the splits are not clear.
    """
    check_folder(root, f"{what}s")
    splits = split_folders(root)
    folders = splits or {"train": root}
    listed = {name: list_files(path, suffixes, recursive=False) for name, path in folders.items()}
    names = {name: _class_names(path, listed[name]) for name, path in folders.items()}
    classes = names["train"]
    items: dict[str, list[Item]] = {}
    beside, used = FolderFiles(), FolderFiles()
    for name, path in folders.items():
        top = listed[name]
        if not classes:
            _check_files(top, path, what)
            items[name] = [(file, None) for file in top.files]
            used += replace(top, files=())
            continue
        _check_classes(path, names[name], folders["train"], classes)
        items[name] = []
        for label, each in enumerate(classes):
            inside = list_files(path / each, suffixes, recursive=False)
            _check_files(inside, path / each, what)
            items[name] += [(file, label) for file in inside.files]
            used += replace(inside, files=())
        _check_most(len(items[name]), len(top.files), path, what)
        beside += replace(top, folders=())
    stray = [file.relative_to(root).as_posix() for file in beside.files]
    left_out = (
        *count_phrase(stray, f"{what} beside the classes", f"{what}s beside the classes"),
        *(used + beside).left_out(root),
        *(files_outside_splits(root, splits) if splits else ()),
    )
    return ClassFolders(classes, items, left_out)


def _class_names(folder: Path, listed: FolderFiles) -> tuple[str, ...]:
    """The sorted names of the folders in a folder, as they were listed.

    Raises:
        DataError: two names differ in case only.
    """
    names: dict[str, str] = {}
    for path in listed.folders:
        other = names.setdefault(path.name.lower(), path.name)
        if other != path.name:
            raise DataError(
                f"{folder}: the classes {other} and {path.name} differ in case only; rename one "
                "of them or put their files in one folder"
            )
    return tuple(sorted(names.values()))


def _check_classes(
    folder: Path, classes: Sequence[str], train: Path, expected: Sequence[str]
) -> None:
    """Raises DataError if a split has other classes than training has."""
    missing = [name for name in expected if name not in classes]
    unknown = [name for name in classes if name not in expected]
    if missing or unknown:
        lacks = [f"lacks the folder {printable(name)}, which {train} has" for name in missing[:1]]
        has = [f"has the folder {printable(name)}, which {train} lacks" for name in unknown[:1]]
        raise DataError(
            f"{folder}: {' and '.join(lacks + has)}; each split needs the same folders of classes"
        )


def _check_files(listed: FolderFiles, folder: Path, what: str) -> None:
    """Raises DataError if a folder has no file that is used."""
    if not listed.files:
        inside = f", but the folder {listed.folders[0].name}" if listed.folders else ""
        raise DataError(f"{folder}: no {what} in this folder{inside}; fill it or remove it")


def _check_most(inside: int, beside: int, folder: Path, what: str) -> None:
    """Raises DataError if more files are beside the folders of classes than in them."""
    if beside > inside:
        raise DataError(
            f"{folder}: holds {inside:,} {what}s in folders, which are classes, and {beside:,} "
            "beside them; move either of them away"
        )
