"""Reads sequences of numbers from npz files, csv files, and folders of csv files.

Shapes: n sequences, T steps, D values per step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

import vaezoo
from vaezoo_vrae.dividing import DividedSequences
from vaezoo_vrae.ragged import Origin, RaggedSequences
from vaezoo_vrae.sources import ALL, TABLE_SUFFIXES, Unreadable

_ARRAYS = frozenset({"x", "lengths", "mask", "condition"})
_MAX_NUMBER = float(np.finfo(np.float32).max)


def read_source(
    path: Path, fractions: Sequence[float], split_seed: int, unreadable: Unreadable
) -> DividedSequences:
    """Reads an npz file, or a folder of csv files.

    Args:
        path: the file or the folder.
        fractions, split_seed: as for ``vaezoo.split_files``.
        unreadable: what to do with a csv file that cannot be read.

    Raises:
        vaezoo.DataError: they cannot be read or are no sequences; names the file and the place.
    """
    if not path.is_dir():
        return read_npz_file(path)
    return read_folder(path, read_csv, fractions, split_seed, unreadable)


def read_folder(
    path: Path,
    read: Callable[[Path], np.ndarray],
    fractions: Sequence[float],
    split_seed: int,
    unreadable: Unreadable,
) -> DividedSequences:
    """Reads the sequences of a folder of csv files, one of each.

    Args:
        path: the folder.
        read: reads the numbers of a file ``[T, D]``.
        fractions, split_seed, unreadable: as for ``read_source``.

    Raises:
        vaezoo.DataError: as ``read_source``.
    """
    folder = vaezoo.split_files(path, TABLE_SUFFIXES, fractions=fractions, split_seed=split_seed)
    contents, skipped = folder.read_each(read, unreadable)
    files = {file: values for split in contents.values() for file, values in split.items()}
    _check_widths(files, path)
    names = {file: folder.class_of(file) for file in files}
    classes = _classes(names, folder.folders[0])
    outside = [file for file in files if classes and names[file] == "."]
    splits = {}
    for split, contained in contents.items():
        used = [file for file in contained if file not in outside]
        labels = np.array([classes.index(names[file]) for file in used]) if classes else None
        splits[split] = RaggedSequences(
            [contained[file] for file in used],
            labels,
            classes,
            origins=[Origin(file.relative_to(path).as_posix()) for file in used],
        )
    one, many = "file in no folder of a class", "files in no folder of a class"
    unlabelled = vaezoo.count_phrase([*map(folder.name, outside)], one, many)
    return DividedSequences(splits, (*folder.left_out, *skipped, *unlabelled))


def _check_widths(files: Mapping[Path, np.ndarray], root: Path) -> None:
    """Raises DataError if the sequences of files have different numbers of columns."""
    first = next(iter(files))
    for file, values in files.items():
        width, expected = values.shape[1], files[first].shape[1]
        if width != expected:
            raise vaezoo.DataError(
                f"{file}: has {width} columns, but {first.relative_to(root).as_posix()} has "
                f"{expected}"
            )


def _classes(names: Mapping[Path, str], train: Path) -> tuple[str, ...]:
    """The classes by the names of their folders; none if all files are in no folder.

    Args:
        names: the folder of each file within its split; ``.`` if it is in none.
        train: the folder of training.

    Raises:
        DataError: a folder of validation or test is none of training.
    """
    trained = {name for file, name in names.items() if train in file.parents}
    for file, name in names.items():
        if name not in {*trained, "."}:
            raise vaezoo.DataError(
                f"{file.parent}: {train} has no such folder; each split needs the same folders of "
                "classes"
            )
    return tuple(sorted(trained - {"."}))


def read_npz_file(path: Path) -> DividedSequences:
    """Reads the sequences of an npz file, each up to its last observed step.

    Raises:
        vaezoo.DataError: it cannot be read, or its arrays are no sequences; names the row.
    """
    arrays = vaezoo.read_npz(path)
    if "x" not in arrays:
        raise vaezoo.DataError(f"{path}: has several parts; sequences are one array x")
    x, lengths, mask = (arrays.get(name) for name in ("x", "lengths", "mask"))
    assert x is not None
    if x.ndim not in ((2, 3) if lengths is not None else (3,)):
        raise vaezoo.DataError(
            f"{path}: needs a numeric array x [n, T, D], or x [steps, D] with lengths [n], not "
            f"{x.shape}"
        )
    if not x.size:
        raise vaezoo.DataError(f"{path}: contains no sequences: the shape of x is {x.shape}")
    if mask is not None and mask.ndim != x.ndim - 1:
        raise vaezoo.DataError(f"{path}: mask {mask.shape} must hide whole steps of x {x.shape}")
    pairs = vaezoo.split_steps(x, lengths, mask, str(path))
    ends = [int(observed.nonzero()[0].max(initial=-1)) + 1 for _, observed in pairs]
    for row, (sequence, _) in enumerate(pairs):
        _check_finite(sequence, f"{path}: sequence {row}")
    data = RaggedSequences(
        [sequence[:end] for (sequence, _), end in zip(pairs, ends, strict=True)],
        observed=[observed[:end] for (_, observed), end in zip(pairs, ends, strict=True)],
    )
    data = _with_labels(data, arrays.get("condition"), path)
    hidden = [row for row, end in enumerate(ends) if not end]
    if len(hidden) == len(ends):
        raise vaezoo.DataError(f"{path}: no sequence has an observed step")
    others = sorted({*arrays.unread, *arrays} - _ARRAYS)
    left_out = (
        *vaezoo.count_phrase(others, "array that is not read", "arrays that are not read"),
        *vaezoo.count_phrase(hidden, "sequence with no step", "sequences with no step"),
    )
    return DividedSequences({ALL: data.without_hidden()}, left_out)


def _check_finite(sequence: np.ndarray, source: str) -> None:
    """Raises DataError if a value ``[T, D]`` is not finite as float32."""
    is_finite = np.abs(sequence.astype(np.float64)) <= _MAX_NUMBER
    if not is_finite.all():
        step = int((~is_finite).any(1).argmax())
        raise vaezoo.DataError(
            f"{source} contains NaN or infinity in step {step}; hide steps with mask or lengths"
        )


def _with_labels(data: RaggedSequences, labels: np.ndarray | None, path: Path) -> RaggedSequences:
    """The sequences with the labels of an npz file.

    Raises:
        DataError: the labels are not valid.
    """
    if labels is None:
        return data
    n = len(data.sequences)
    if labels.dtype.kind not in "iub" or labels.shape != (n,):
        raise vaezoo.DataError(
            f"{path}: condition must be a label for each of the {n} sequences, counted from 0"
        )
    labels = labels.astype(np.int64)
    return replace(data, labels=labels, classes=vaezoo.check_labels(labels, str(path)))


def read_csv(path: Path) -> np.ndarray:
    """The numbers of a csv file, float64 ``[T, D]``.

    The first row is a header if its first cell is neither a number nor stands for a missing one.
    If that cell is empty, as above an index, it is one if no other cell is a number, or if all are
    the numbers 0, 1, 2, ... of columns without names.

    Raises:
        vaezoo.DataError: it cannot be read as rows of numbers; names the line.
    """
    rows = vaezoo.read_rows(path)
    rows = rows[1:] if rows and _is_header(rows[0][1]) else rows
    if not rows:
        raise vaezoo.DataError(f"{path}: contains no rows of numbers")
    width = len(rows[0][1])
    values = np.empty((len(rows), width))
    for i, (line, row) in enumerate(rows):
        if len(row) != width:
            raise vaezoo.DataError(f"{path}:{line}: has {len(row)} cells, expected {width}")
        values[i] = [_number(cell, f"{path}:{line}: column {k}") for k, cell in enumerate(row, 1)]
    return values


def _number(cell: str, place: str) -> float:
    """A cell as a number; raises DataError if it is none that is finite as float32."""
    try:
        value = vaezoo.parse_number(cell)
    except ValueError as error:
        raise vaezoo.DataError(f"{place}: {cell!r} {error}") from None
    if not abs(value) <= _MAX_NUMBER:
        raise vaezoo.DataError(f"{place}: {cell!r} is not a finite number")
    return value


def _is_header(row: Sequence[str]) -> bool:
    first, *others = (cell.strip() for cell in row)
    if first:
        return not _is_number(first)
    numbers = [str(i) for i in range(len(others))]
    return bool(others) and (others == numbers or not any(map(_is_number, others)))


def _is_number(cell: str) -> bool:
    """Whether a cell is a number or a missing one."""
    try:
        vaezoo.parse_number(cell)
    except ValueError:
        return False
    return True
