"""The files of a folder by their split, and their content."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, TypeVar

from vaezoo.data.folders import (
    FolderFiles,
    check_folder,
    files_outside_splits,
    list_files,
    split_folders,
)
from vaezoo.data.phrases import count_phrase
from vaezoo.data.splits import complete_splits
from vaezoo.utils.errors import DataError, one_line, printable

Content = TypeVar("Content")
Unreadable: TypeAlias = Literal["error", "skip"]
"""What to do with files that cannot be read: report the first, or leave them out."""
_MAX_REASON = 200
"""The most characters that are told of why a file cannot be read."""
SKIP_HINT = "to leave out what cannot be read, set unreadable: skip"


@dataclass(frozen=True)
class SplitFiles:
    """The files of a folder and its sub-folders, each of which holds one or more examples.

    Attributes:
        root: the folder.
        files: sorted, by ``train``, ``validation`` and ``test``; or all under the empty name, yet
            to be divided, if ``root`` has no folders of splits.
        folders: the folders of splits, that of training first; or ``root`` alone.
        left_out: what of the folder is not used, as ``Dataset.left_out`` wants it.
    """

    root: Path
    files: Mapping[str, tuple[Path, ...]]
    folders: tuple[Path, ...]
    left_out: tuple[str, ...]

    def name(self, file: Path) -> str:
        """The name of a file for users, relative to the folder."""
        return file.relative_to(self.root).as_posix()

    def class_of(self, file: Path) -> str:
        """The folder of a file within its split; ``.`` if it is in none."""
        folder = next(folder for folder in self.folders if folder in file.parents)
        return file.parent.relative_to(folder).as_posix()

    def read_each(
        self, read: Callable[[Path], Content], unreadable: Unreadable
    ) -> tuple[dict[str, dict[Path, Content]], tuple[str, ...]]:
        """Reads the files.

        Args:
            read: reads one; raises ``vaezoo.DataError``.
            unreadable: ``skip`` leaves out files that cannot be read, ``error`` reports the first.

        Returns:
            What each file holds, by split; and a phrase of the files that were left out.

        Raises:
            vaezoo.DataError: a file cannot be read; or with ``skip``, none of a split can be.
        """
        return read_each(self.files, read, unreadable, root=self.root, what="file")


def read_each(
    files: Mapping[str, Sequence[Path]],
    read: Callable[[Path], Content],
    unreadable: Unreadable,
    *,
    root: Path,
    what: str,
) -> tuple[dict[str, dict[Path, Content]], tuple[str, ...]]:
    """Reads files, as ``SplitFiles.read_each`` says.

    Args:
        files: by split.
        read, unreadable: as for ``SplitFiles.read_each``.
        root: the folder that holds them.
        what: names a file in messages, such as ``image``.
    """
    contents: dict[str, dict[Path, Content]] = {}
    skipped: list[str] = []
    first = ""
    for split, paths in files.items():
        contents[split], reason = {}, ""
        for path in paths:
            try:
                contents[split][path] = read(path)
            except DataError as error:
                if unreadable == "error":
                    raise DataError(f"{error}; {SKIP_HINT}") from error
                reason, first = reason or str(error), first or str(error)
                skipped.append(path.relative_to(root).as_posix())
        if not contents[split]:
            of = f" of {split}" if split else ""
            raise DataError(f"{root}: no {what}{of} can be read; the first: {reason}")
    one, many = f"{what} that cannot be read", f"{what}s that cannot be read"
    phrases = count_phrase(skipped, one, many)
    if first:
        first = printable(one_line(first.replace(f"{root}{os.sep}", "")))[:_MAX_REASON]
    return contents, tuple(f"{phrase}, the first: {first}" for phrase in phrases)


def split_files(
    root: Path, suffixes: Collection[str], *, fractions: Sequence[float], split_seed: int
) -> SplitFiles:
    """Lists the files of a folder and its sub-folders by their split.

    If ``root`` has folders of splits, they are used, and a split that has none is cut out of that
    of training. They are called ``train`` or ``training``; ``validation``, ``valid``, ``val`` or
    ``dev``; ``test`` or ``testing``, each also with ``set`` behind it, in any case. Otherwise the
    files are yet to be divided.

    Args:
        root: the folder.
        suffixes: the endings in lower case, such as ``{".mid", ".midi"}``; files may have them in
            any case.
        fractions: the shares of train, validation and test, for splits that are cut.
        split_seed: decides which file belongs to which split.

    Raises:
        vaezoo.DataError: ``root`` is no folder, it or a split has no file, or the folders of
            splits are not clear.
    """
    endings = ", ".join(sorted(suffixes))
    check_folder(root, f"files {endings}")
    splits = split_folders(root)
    found: dict[str, tuple[Path, ...]] = {}
    total = FolderFiles()
    for name, folder in (splits or {"": root}).items():
        listed = list_files(folder, suffixes, recursive=True)
        if not listed.files:
            raise DataError(f"{folder}: holds no file with one of the endings {endings}")
        found[name], total = listed.files, total + listed
    if not splits:
        return SplitFiles(root, found, (root,), total.left_out(root))
    files = complete_splits(found, fractions, split_seed, str(root))
    return SplitFiles(
        root,
        {name: tuple(paths) for name, paths in files.items()},
        tuple(splits.values()),
        (*total.left_out(root), *files_outside_splits(root, splits)),
    )
