"""The examples that a command reads: of a split, of a file or of a folder, with their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vaezoo.data.batch import Batch
from vaezoo.data.dataset import Split
from vaezoo.data.folders import list_files
from vaezoo.data.format import FileSteps, NamedBatch
from vaezoo.data.hiding import NO_LABEL
from vaezoo.data.image_format import ImageFormat
from vaezoo.data.loader import Loader
from vaezoo.data.phrases import count_phrase
from vaezoo.data.split_files import read_each
from vaezoo.data.splits import SPLIT_NAMES
from vaezoo.runs.example_files import read_named_batch, to_loader
from vaezoo.runs.joined_batches import concatenate
from vaezoo.runs.run import Run
from vaezoo.utils.columns import free_names
from vaezoo.utils.errors import DataError, UsageError
from vaezoo.utils.paths import is_file, is_folder

ALL = "all"
"""The name of all splits together."""


@dataclass(frozen=True)
class NamedExamples:
    """Examples and what names them.

    Attributes:
        loader: the examples.
        names: a value for each example by the name of a column, such as ``file``, ``example`` (its
            number in the file, from 0), ``start`` (the first step of a window) or an identifier of
            a table.
        left_out: phrases of the files in a folder that are not read.
        steps: those of the files of sequences, in the order of the examples; empty if they have no
            names.
    """

    loader: Loader
    names: Mapping[str, Sequence[Any]]
    left_out: Sequence[str] = ()
    steps: Sequence[FileSteps] = ()

    def first(self, count: int) -> NamedExamples:
        """The first examples, all if there are fewer."""
        index = torch.arange(min(count, len(self.loader)))
        split = self.loader.split.select(index)
        names = {name: values[: len(index)] for name, values in self.names.items()}
        return NamedExamples(Loader(split, self.loader.device, self.loader.batch_size), names)

    def by_step(self, values: Tensor, shown: Tensor) -> tuple[dict[str, list[Any]], Tensor]:
        """Values of the steps of sequences by the steps of their files.

        Where several examples, such as overlapping windows, have a step, it has their mean.

        Args:
            values: ``[n, T]``.
            shown: which steps have a value, bool ``[n, T]``.

        Returns:
            What names each of the steps, by column, and their values ``[steps]``: NaN without one.
        """
        names: dict[str, list[Any]] = {}
        if not self.steps:
            example, step = shown.nonzero().T.tolist()
            names = {name: [each[i] for i in example] for name, each in self.names.items()}
            return {**free_names(names, ["step"]), "step": step}, values[shown]
        first, means = 0, []
        for steps in self.steps:
            starts, count = torch.tensor(steps.starts), len(next(iter(steps.names.values())))
            rows = slice(first, first + len(starts))
            place = (starts[:, None] + torch.arange(values.shape[1]))[shown[rows]]
            total = values.new_zeros(count).index_add(0, place, values[rows][shown[rows]])
            means.append(total / torch.bincount(place, minlength=count))
            for name, cells in steps.names.items():
                names.setdefault(name, []).extend(cells)
            first = rows.stop
        return names, torch.cat(means)


def named_examples(run: Run, source: str, *, needs_condition: bool = True) -> NamedExamples:
    """Loads the examples of a split, of all splits, of a file or of the files in a folder.

    Files are read as the data set of the run reads its source, those of a folder in the order of
    their names; if the data set skips what cannot be read, such files of a folder are left out.
    The label of a file without labels is the nearest folder that has the name of a class.

    Args:
        run: the run with the model.
        source: ``train``, ``validation``, ``test``, ``all``, or a path.
        needs_condition: whether examples of files need a condition if the model does.

    Raises:
        UsageError: there is no such split, or no plugin provides the format of the file.
        DataError: a file cannot be read, or does not fit the model's data; names it.
    """
    if source in SPLIT_NAMES:
        loader = run.data(source)
        names = {"example": range(len(loader)), **loader.split.names}
        return NamedExamples(loader, names, steps=loader.split.steps)
    if source == ALL:
        return _all_splits(run)
    path = Path(source)
    left_out: tuple[str, ...] = ()
    if is_folder(path):
        files, left_out = _files_in(run, path)
    elif is_file(path):
        files = [path]
    else:
        splits = ", ".join((*SPLIT_NAMES, ALL))
        raise DataError(f"{path}: no such file or folder; the splits are {splits}")
    root = path if is_folder(path) else path.parent
    reader = _Reader(run, root, needs_condition)
    are_images = all(isinstance(run.file_format(file), ImageFormat) for file in files)
    found: Mapping[Path, NamedBatch | None]
    if is_folder(path) and run.skips_unreadable:
        read = reader.check if are_images else reader.read
        contents, skipped = read_each({"": files}, read, "skip", root=path, what="file")
        found, left_out = contents[""], (*skipped, *left_out)
    else:
        found = {file: None if are_images else reader.read(file) for file in files}
    shown = [file.relative_to(root).as_posix() for file in found]
    if are_images:
        names = {"file": shown, "example": [0] * len(shown)}
        return NamedExamples(_images(reader, list(found)), names, left_out)
    read_files = [file for file in found.values() if file is not None]
    loader = to_loader(run.model, concatenate([each.batch for each in read_files]))
    return NamedExamples(loader, _names(shown, read_files), left_out, _steps(shown, read_files))


@dataclass(frozen=True)
class _Reader:
    """Reads files of a user.

    Attributes:
        run: the run with the model.
        root: the folder that the user named, or that of the file.
        needs_condition: whether examples need a condition if the model does.
    """

    run: Run
    root: Path
    needs_condition: bool

    def read(self, file: Path) -> NamedBatch:
        """The examples of a file."""
        return read_named_batch(
            self.run.model,
            file,
            self.run.file_format(file),
            label=self.label(file),
            needs_condition=self.needs_condition,
        )

    def check(self, file: Path) -> None:
        """Raises DataError if a file cannot be read."""
        self.read(file)

    def label(self, file: Path) -> int | None:
        """The label that a file has by the nearest folder that has the name of a class."""
        classes = self.run.model.data.classes
        folders = (file.parent, *file.parent.parents)
        for folder in folders[: folders.index(self.root) + 1]:
            if folder.name in classes:
                return classes.index(folder.name)
        return None


def _names(titles: Sequence[str], files: Sequence[NamedBatch]) -> dict[str, Sequence[Any]]:
    """What names the examples of files; empty where a file has no such column.

    Args:
        titles: what the files are called.
        files: their examples.
    """
    columns = list(dict.fromkeys(name for file in files for name in file.names))
    counts = [len(file.batch) for file in files]
    names: dict[str, Sequence[Any]] = {
        "file": [title for title, count in zip(titles, counts, strict=True) for _ in range(count)],
        "example": [i for count in counts for i in range(count)],
    }
    own = {
        column: [
            value
            for file, count in zip(files, counts, strict=True)
            for value in file.names.get(column, [""] * count)
        ]
        for column in columns
    }
    return names | free_names(own, names)


def _steps(titles: Sequence[str], files: Sequence[NamedBatch]) -> list[FileSteps]:
    """The steps of files of sequences with the titles of the files; empty if one has none."""
    found = []
    for title, file in zip(titles, files, strict=True):
        if file.steps is None:
            return []
        count = len(next(iter(file.steps.names.values())))
        names = {"file": [title] * count}
        found.append(replace(file.steps, names=names | free_names(file.steps.names, names)))
    return found


def _all_splits(run: Run) -> NamedExamples:
    """The examples of the three splits, one after another."""
    loaders = {name: run.data(name) for name in SPLIT_NAMES}
    names: dict[str, Sequence[Any]] = {
        "split": [name for name, loader in loaders.items() for _ in range(len(loader))],
        "example": [i for loader in loaders.values() for i in range(len(loader))],
    }
    for name in loaders["test"].split.names:
        names[name] = [each for loader in loaders.values() for each in loader.split.names[name]]
    batches = [loader.first(len(loader)) for loader in loaders.values()]
    steps = [each for loader in loaders.values() for each in loader.split.steps]
    return NamedExamples(to_loader(run.model, concatenate(batches)), names, steps=steps)


def _files_in(run: Run, folder: Path) -> tuple[list[Path], tuple[str, ...]]:
    """The files in a folder and its sub-folders that the model reads; phrases of the others.

    Raises:
        DataError: there are none.
    """
    listed = list_files(folder, (), recursive=True)
    files = [file for file in listed.others if _is_read(run, file)]
    if not files:
        raise DataError(f"{folder}: no file in this folder can be read by this model")
    others = sorted({*listed.others} - {*files})
    names = [file.relative_to(folder).as_posix() for file in others]
    one, many = "file that this model does not read", "files that this model does not read"
    return files, (*count_phrase(names, one, many), *replace(listed, others=()).left_out(folder))


def _is_read(run: Run, file: Path) -> bool:
    """Whether a format of the file's ending reads examples of the model."""
    try:
        return run.file_format(file).reads
    except UsageError:
        return False


def _images(reader: _Reader, files: Sequence[Path]) -> Loader:
    """Images that are read when they are needed, as those of a folder may not fit in memory.

    Labels that are not known are -1, unless none is known.
    """
    labels = [reader.label(file) for file in files]
    if None in labels:  # a model that needs labels refuses this file now
        reader.check(files[labels.index(None)])
    known = None
    if any(label is not None for label in labels):
        known = torch.tensor([NO_LABEL if label is None else label for label in labels])
    model = reader.run.model
    return Loader(Split(_Images(reader, files), known), model.device, model.batch_size())


class _Images(torch.utils.data.Dataset[Batch]):
    """A map-style data set of image files."""

    def __init__(self, reader: _Reader, files: Sequence[Path]) -> None:
        self.reader, self.files = reader, files

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Batch:
        batch = self.reader.read(self.files[index]).batch
        return Batch(batch.x[0].cpu())
