"""The examples that a command reads: of a split, of a file or of a folder, with their names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from vaezoo.data.batch import Batch
from vaezoo.data.dataset import Split
from vaezoo.data.folders import list_files
from vaezoo.data.format import Format
from vaezoo.data.image_format import ImageFormat
from vaezoo.data.loader import Loader
from vaezoo.data.mapping import map_tensors
from vaezoo.data.phrases import count_phrase
from vaezoo.data.splits import SPLIT_NAMES
from vaezoo.model.model import Model
from vaezoo.runs.example_files import read_batch, to_loader
from vaezoo.runs.run import Run
from vaezoo.utils.errors import DataError, UsageError

ALL = "all"
"""The name of all splits together."""
_UNKNOWN = -1
"""The label of an example whose class is not known."""


@dataclass(frozen=True)
class NamedExamples:
    """Examples and what names them.

    Attributes:
        loader: the examples.
        names: a value for each example by the name of a column, such as ``file``, ``example`` (its
            number in the file, from 0), ``start`` (the first step of a window) or an identifier of
            a table.
        left_out: phrases of the files in a folder that are not read.
    """

    loader: Loader
    names: Mapping[str, Sequence[Any]]
    left_out: Sequence[str] = ()

    def first(self, count: int) -> NamedExamples:
        """The first examples, all if there are fewer."""
        index = torch.arange(min(count, len(self.loader)))
        split = self.loader.split.select(index)
        names = {name: values[: len(index)] for name, values in self.names.items()}
        return NamedExamples(Loader(split, self.loader.device, self.loader.batch_size), names)


def named_examples(run: Run, source: str, *, needs_condition: bool = True) -> NamedExamples:
    """Loads the examples of a split, of all splits, of a file or of the files in a folder.

    Files are read as the data set of the run reads its source, those of a folder in the order of
    their names. The label of a file without labels is the nearest folder that has the name of a
    class.

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
        return NamedExamples(loader, {"example": range(len(loader))})
    if source == ALL:
        return _all_splits(run)
    path = Path(source)
    left_out: tuple[str, ...] = ()
    if path.is_dir():
        files, left_out = _files_in(run, path)
        shown = [file.relative_to(path).as_posix() for file in files]
    elif path.is_file():
        files, shown = [path], [path.name]
    else:
        splits = ", ".join((*SPLIT_NAMES, ALL))
        raise DataError(f"{path}: no such file or folder; the splits are {splits}")
    read = partial(read_batch, run.model, needs_condition=needs_condition)
    root = path if path.is_dir() else path.parent
    labels = [_folder_label(run.model, file, root) for file in files]
    loader, counts, own_names = _read_files(run, files, labels, read)
    file_names = [name for name, count in zip(shown, counts, strict=True) for _ in range(count)]
    numbers = [i for count in counts for i in range(count)]
    names: dict[str, Sequence[Any]] = {"file": file_names, "example": numbers}
    others = {name: values for name, values in own_names.items() if name not in names}
    return NamedExamples(loader, names | others, left_out)


def _read_files(
    run: Run, files: Sequence[Path], labels: Sequence[int | None], read: Callable[..., Batch]
) -> tuple[Loader, list[int], dict[str, Sequence[Any]]]:
    """The examples of files, their number in each file, and what the files name them by."""
    formats = [run.file_format(file) for file in files]
    if all(isinstance(file_format, ImageFormat) for file_format in formats):
        return _images(run.model, read, files, formats, labels), [1] * len(files), {}
    batches = [
        read(file, file_format, label=label)
        for file, file_format, label in zip(files, formats, labels, strict=True)
    ]
    counts = [len(batch) for batch in batches]
    return _loader(run.model, batches), counts, {**_own_names(files, formats, counts)}


def _all_splits(run: Run) -> NamedExamples:
    """The examples of the three splits, one after another."""
    loaders = {name: run.data(name) for name in SPLIT_NAMES}
    names: dict[str, Sequence[Any]] = {
        "split": [name for name, loader in loaders.items() for _ in range(len(loader))],
        "example": [i for loader in loaders.values() for i in range(len(loader))],
    }
    batches = [loader.first(len(loader)) for loader in loaders.values()]
    return NamedExamples(_loader(run.model, batches), names)


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


def _folder_label(model: Model, file: Path, root: Path) -> int | None:
    """The label that a file has by the nearest folder that has the name of a class.

    Args:
        model: the model.
        file: the file.
        root: the folder that the user named, or that of the file.
    """
    classes = model.data.classes
    folders = (file.parent, *file.parent.parents)
    for folder in folders[: folders.index(root) + 1]:
        if folder.name in classes:
            return classes.index(folder.name)
    return None


def _own_names(
    files: Sequence[Path], formats: Sequence[Format], counts: Sequence[int]
) -> dict[str, list[str | int]]:
    """What the files themselves name their examples by; empty where a file has no such column."""
    each = [file_format.names(file) for file, file_format in zip(files, formats, strict=True)]
    columns = list(dict.fromkeys(name for names in each for name in names))
    return {
        column: [
            value
            for names, count in zip(each, counts, strict=True)
            for value in names.get(column, [""] * count)
        ]
        for column in columns
    }


def _images(
    model: Model,
    read: Callable[..., Batch],
    files: Sequence[Path],
    formats: Sequence[Format],
    labels: Sequence[int | None],
) -> Loader:
    """Images that are read when they are needed, as those of a folder may not fit in memory.

    Labels that are not known are -1, unless none is known.
    """
    if None in labels:  # a model that needs labels refuses this file now
        index = labels.index(None)
        read(files[index], formats[index])
    known = None
    if any(label is not None for label in labels):
        known = torch.tensor([_UNKNOWN if label is None else label for label in labels])
    split = Split(_Images(read, files, formats, labels), known)
    return Loader(split, model.device, model.batch_size())


class _Images(torch.utils.data.Dataset[Batch]):
    """A map-style data set of image files; the arguments are those of ``_images``."""

    def __init__(
        self,
        read: Callable[..., Batch],
        files: Sequence[Path],
        formats: Sequence[Format],
        labels: Sequence[int | None],
    ) -> None:
        self.read, self.files, self.formats, self.labels = read, files, formats, labels

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Batch:
        label = self.labels[index]
        return Batch(self.read(self.files[index], self.formats[index], label=label).x[0].cpu())


def _loader(model: Model, batches: Sequence[Batch]) -> Loader:
    """The examples of all batches; sequences are padded to the longest."""
    return to_loader(model, batches[0] if len(batches) == 1 else _concatenate(batches))


def _concatenate(batches: Sequence[Batch]) -> Batch:
    """One batch of several. Labels that some have are -1 in the others."""
    batches = _with_conditions(batches)
    first = batches[0]
    if isinstance(first.x, torch.Tensor) and first.mask is not None:
        steps = max(batch.x.shape[1] for batch in batches)
        batches = [_padded(batch, steps) for batch in batches]

    def join(values: Sequence[Any]) -> Any:
        if values[0] is None:
            return None
        if isinstance(values[0], Mapping):
            return {name: join([value[name] for value in values]) for name in values[0]}
        return torch.cat(list(values))

    return Batch(
        join([batch.x for batch in batches]),
        join([batch.condition for batch in batches]),
        join([batch.mask for batch in batches]),
        extras=join([batch.extras for batch in batches]),
        present=join([_all_present(batch) for batch in batches]),
    )


def _with_conditions(batches: Sequence[Batch]) -> Sequence[Batch]:
    """Batches that all have conditions or none: a label that a file lacks is not known."""
    given = [batch.condition for batch in batches if batch.condition is not None]
    if len(given) in (0, len(batches)):
        return batches
    are_labels = given[0].dim() == 1

    def complete(batch: Batch) -> Batch:
        if batch.condition is not None and are_labels:
            return batch
        unknown = torch.full((len(batch),), _UNKNOWN, device=batch.device)
        return replace(batch, condition=unknown if are_labels else None)

    return [complete(batch) for batch in batches]


def _all_present(batch: Batch) -> dict[str, torch.Tensor] | None:
    """Which examples have each part; None without parts."""
    if not isinstance(batch.x, Mapping):
        return None
    everyone = torch.ones(len(batch), dtype=torch.bool, device=batch.device)
    return {name: (batch.present or {}).get(name, everyone) for name in batch.x}


def _padded(batch: Batch, steps: int) -> Batch:
    """A batch of sequences with more steps, which its mask hides."""
    missing = steps - batch.x.shape[1]

    def pad(values: torch.Tensor) -> torch.Tensor:
        return torch.cat([values, values.new_zeros(len(values), missing, *values.shape[2:])], 1)

    return replace(batch, x=map_tensors(pad, batch.x), mask=map_tensors(pad, batch.mask))
