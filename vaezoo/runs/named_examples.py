"""The examples that a command reads: of a split, of a file or of a folder, with their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vaezoo.data.batch import Batch
from vaezoo.data.format import FileSteps
from vaezoo.data.loader import Loader
from vaezoo.data.mapping import map_tensors
from vaezoo.data.splits import SPLIT_NAMES
from vaezoo.model.model import Model
from vaezoo.runs.example_files import read_batch, to_loader
from vaezoo.runs.file_formats import format_for
from vaezoo.runs.run import Run
from vaezoo.utils.errors import DataError, UsageError

ALL = "all"
"""The name of all splits together."""


@dataclass(frozen=True)
class NamedExamples:
    """Examples and what names them.

    Attributes:
        loader: the examples.
        names: a value for each example by the name of a column, such as ``file``, ``row`` or an
            identifier of the table.
        steps: for the files of sequences in the order of the examples, the title of each and its
            steps; empty if steps have no names.
    """

    loader: Loader
    names: Mapping[str, Sequence[Any]]
    steps: Sequence[tuple[str, FileSteps]] = ()

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
            return {**names, "step": step}, values[shown]
        first, means = 0, []
        for title, (step_starts, step_names) in self.steps:
            count, starts = len(next(iter(step_names.values()))), torch.tensor(step_starts)
            rows = slice(first, first + len(starts))
            place = (starts[:, None] + torch.arange(values.shape[1]))[shown[rows]]
            total = values.new_zeros(count).index_add(0, place, values[rows][shown[rows]])
            means.append(total / torch.bincount(place, minlength=count))
            file = {"file": [title] * count} if title else {}
            for name, cells in {**file, **step_names}.items():
                names.setdefault(name, []).extend(cells)
            first = rows.stop
        return names, torch.cat(means)


def named_examples(run: Run, source: str) -> NamedExamples:
    """Loads the examples of a split, of all splits, of a file or of the files in a folder.

    Files are read as in training. Of a folder those are read whose ending belongs to a format that
    reads the data of the model, in the order of their names.

    Args:
        run: the run with the model.
        source: ``train``, ``validation``, ``test``, ``all``, or a path.

    Raises:
        UsageError: there is no such split or path.
        DataError: a file cannot be read, or does not fit the model's data; names it.
    """
    names: dict[str, Sequence[Any]]
    if source in SPLIT_NAMES:
        loader = run.data(source)
        return NamedExamples(loader, {"example": range(len(loader))})
    if source == ALL:
        loaders = {name: run.data(name) for name in SPLIT_NAMES}
        names = {
            "split": [name for name, loader in loaders.items() for _ in range(len(loader))],
            "example": [i for loader in loaders.values() for i in range(len(loader))],
        }
        batches = [loader.first(len(loader)) for loader in loaders.values()]
        return NamedExamples(_loader(run.model, batches), names)
    path = Path(source)
    return _of_folder(run, path) if path.is_dir() else _of_files(run, {"": path})


def _of_folder(run: Run, folder: Path) -> NamedExamples:
    """The examples of the files of a folder that the model reads, with the names of the files.

    Raises:
        DataError: there is none.
    """
    files = [file for file in sorted(folder.rglob("*")) if file.is_file() and _is_read(run, file)]
    if not files:
        raise DataError(f"{folder}: no file in this folder can be read by this model")
    return _of_files(run, {str(file.relative_to(folder)): file for file in files})


def _of_files(run: Run, files: Mapping[str, Path]) -> NamedExamples:
    """The examples of files by their titles; a single file may have none."""
    batches = [read_batch(run.model, path) for path in files.values()]
    formats = [format_for(run.model.data, path) for path in files.values()]
    own = [each.names(path) for each, path in zip(formats, files.values(), strict=True)]
    names: dict[str, list[Any]] = {"file": [], "example": []}
    names |= {name: [] for each in own for name in each}
    for title, batch, each in zip(files, batches, own, strict=True):
        columns = {"file": [title] * len(batch), "example": range(len(batch)), **each}
        for name, cells in names.items():
            cells.extend(columns.get(name, [""] * len(batch)))
    found = [each.steps(path) for each, path in zip(formats, files.values(), strict=True)]
    steps = [(title, each) for title, each in zip(files, found, strict=True) if each is not None]
    if "" in files:
        del names["file"]
    return NamedExamples(
        _loader(run.model, batches), names, steps if len(steps) == len(files) else ()
    )


def _is_read(run: Run, file: Path) -> bool:
    """Whether a format of the file's ending reads examples of the model."""
    try:
        return format_for(run.model.data, file).reads
    except UsageError:
        return False


def _loader(model: Model, batches: Sequence[Batch]) -> Loader:
    """The examples of all batches; sequences are padded to the longest."""
    return to_loader(model, batches[0] if len(batches) == 1 else _concatenate(batches))


def _concatenate(batches: Sequence[Batch]) -> Batch:
    """One batch of several, all with the same parts, masks and conditions."""
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
        present=join([batch.present for batch in batches]),
    )


def _padded(batch: Batch, steps: int) -> Batch:
    """A batch of sequences with more steps, which its mask hides."""
    missing = steps - batch.x.shape[1]

    def pad(values: torch.Tensor) -> torch.Tensor:
        return torch.cat([values, values.new_zeros(len(values), missing, *values.shape[2:])], 1)

    return replace(batch, x=map_tensors(pad, batch.x), mask=map_tensors(pad, batch.mask))
