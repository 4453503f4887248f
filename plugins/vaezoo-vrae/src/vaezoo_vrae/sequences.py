"""Series of numbers: an npz file of ragged arrays, or a folder of csv files."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from annotated_types import Ge
from torch import Tensor

import vaezoo
from vaezoo_vrae.ragged import ragged_split


@dataclass(frozen=True)
class Ragged:
    """Sequences as a source holds them.

    Attributes:
        rows: each ``[T_i, D]``, float32.
        labels: of each, counted from 0; None where there are none.
        classes: the names of the labels.
    """

    rows: list[np.ndarray]
    labels: np.ndarray | None = None
    classes: tuple[str, ...] = ()


class Sequences(vaezoo.Dataset):
    """Sequences of vectors of one width and many lengths, from an npz file or a folder of csv files.

    The npz has ``x``: all steps one after another ``[steps, D]`` with ``lengths`` ``[n]``, or ``[n, T, D]``; and, where
    wanted, ``condition`` ``[n]``, labels counted from 0. In the folder each csv file is one sequence, a step to a row,
    a header being skipped; files in sub-folders are labelled by the folder's name. Numbers are standardised by mean and
    deviation of the training split, which are stored with the model, unless they are 0 and 1 alone.

    Args:
        path: the file (``x`` [steps, D] with ``lengths`` [n], or ``x`` [n, T, D]; labels ``condition`` [n]) or the
            folder (a csv file is a sequence, a sub-folder a class); a relative path is looked for in the working
            directory, then in ``VAEZOO_DATA``.
        window: cut series into pieces of so many steps, the last of what is left; 0 takes them whole.
        stride: from the start of one piece to the next; 0 is ``window``.
        standardise: bring each column to mean 0 and deviation 1.
        fractions: the shares of train, validation and test: of sequences, or of the time of a single one.
        split_seed: decides which sequence goes where.
    """

    def __init__(
        self,
        *,
        path: str,
        window: Annotated[int, Ge(0)] = 0,
        stride: Annotated[int, Ge(0)] = 0,
        standardise: bool = True,
        fractions: vaezoo.Fractions = (0.8, 0.1, 0.1),
        split_seed: int = 0,
    ) -> None:
        if stride and not window:
            raise ValueError("stride is for windows: give window too")
        self.path, self.window, self.stride, self.standardise = path, window, stride or window, standardise
        self.fractions, self.split_seed = fractions, split_seed

    @cached_property
    def _parts(self) -> dict[str, Ragged]:
        file = vaezoo.find_data(self.path)
        return divided(read(file), self.fractions, self.split_seed, str(file), self.window, self.stride)

    @cached_property
    def spec(self) -> vaezoo.DataSpec:
        """The longest sequence of any split; numbers as the training split has them."""
        return sequence_spec(self._parts, self.standardise)

    def split(self, name: str) -> vaezoo.Split:
        """One of the three splits."""
        part = self._parts[name]
        labels = None if part.labels is None else torch.from_numpy(part.labels)
        return ragged_split(part.rows, self.spec.shape[0], self._standardised, labels)

    def _standardised(self, x: Tensor) -> Tensor:
        return self.spec.from_source_units(x)


def sequence_spec(parts: dict[str, Ragged], standardise: bool) -> vaezoo.DataSpec:
    """What sequences look like, standardised by their training split where that is wanted and they are not binary."""
    everything = [row for part in parts.values() for row in part.rows]
    binary = all(bool(np.isin(row, (0, 1)).all()) for row in everything)
    train = np.concatenate(parts["train"].rows).astype(np.float64)
    steady = standardise and not binary
    deviation = train.std(0)
    classes = parts["train"].classes
    return vaezoo.DataSpec(
        (max(len(row) for row in everything), train.shape[1]),
        "binary" if binary else "real",
        levels=2 if binary else 0,
        variable_length=True,
        mask_dims=1,
        classes=classes,
        condition_shape=() if classes else None,
        offset=tuple(train.mean(0).tolist()) if steady else (),
        scale=tuple(np.where(deviation > 0, deviation, 1.0).tolist()) if steady else (),
    )


def divided(
    found: Ragged, fractions: Sequence[float], seed: int, where: str, window: int = 0, stride: int = 0
) -> dict[str, Ragged]:
    """Train, validation and test, then cut into windows; fewer than three sequences are divided in time.

    Raises:
        vaezoo.DataError: there is too little for three parts.
    """
    parts: dict[str, Ragged] = {}
    if len(found.rows) >= 3:
        for name, index in vaezoo.split_indices(len(found.rows), fractions, seed, where).items():
            labels = None if found.labels is None else found.labels[index]
            parts[name] = Ragged([found.rows[i] for i in index], labels, found.classes)
    else:
        ends = np.cumsum(fractions)[:-1] / np.sum(fractions)
        pieces = [np.split(row, np.round(ends * len(row)).astype(int)) for row in found.rows]
        for i, name in enumerate(("train", "validation", "test")):
            kept = [k for k, piece in enumerate(pieces) if len(piece[i])]
            labels = None if found.labels is None else found.labels[kept]
            parts[name] = Ragged([pieces[k][i] for k in kept], labels, found.classes)
    if window:
        parts = {name: _windows(part, window, stride) for name, part in parts.items()}
    for name, part in parts.items():
        if not part.rows:
            raise vaezoo.DataError(
                f"{where}: nothing is left for the {name} split; give more sequences, longer ones or other fractions"
            )
    return parts


def _windows(part: Ragged, window: int, stride: int) -> Ragged:
    """Pieces of ``window`` steps; the last is as long as what is left, and a sequence that is shorter stays whole."""
    rows, origin = [], []
    for i, row in enumerate(part.rows):
        for start in range(0, max(len(row) - max(window - stride, 0), 1), stride):
            rows.append(row[start : start + window])
            origin.append(i)
    return Ragged(rows, None if part.labels is None else part.labels[origin], part.classes)


def read(path: Path) -> Ragged:
    """Sequences from an npz file or a folder.

    Raises:
        vaezoo.DataError: they cannot be read, differ in width, or hold NaN; names the file and the sequence.
    """
    found = _read_folder(path) if path.is_dir() else _read_npz(path)
    for i, row in enumerate(found.rows):
        if row.shape[1] != found.rows[0].shape[1] or not len(row):
            raise vaezoo.DataError(f"{path}: sequence {i} is {row.shape}, not [steps, {found.rows[0].shape[1]}]")
        if not row.shape[1]:
            raise vaezoo.DataError(f"{path}: sequence {i} has steps without numbers")
        if not np.isfinite(row).all():
            raise vaezoo.DataError(f"{path}: sequence {i} holds NaN or infinity")
    return found


def _read_npz(path: Path) -> Ragged:
    arrays = vaezoo.read_npz(path)
    x, counts, labels = arrays["x"], arrays.get("lengths"), arrays.get("condition")
    if x.dtype.kind not in "fiub" or x.ndim != (3 if counts is None else 2):
        raise vaezoo.DataError(f"{path}: wants numbers x [n, T, D], or x [steps, D] with lengths [n]")
    if counts is not None and (counts.dtype.kind not in "iu" or int(counts.sum()) != len(x)):
        raise vaezoo.DataError(f"{path}: lengths do not add up to the {len(x)} steps of x")
    if not len(x):
        raise vaezoo.DataError(f"{path}: holds no sequence")
    values = x.astype(np.float32)
    rows = list(values) if counts is None else np.split(values, np.cumsum(counts)[:-1])
    if labels is None:
        return Ragged(rows)
    if labels.dtype.kind not in "iu" or labels.shape != (len(rows),) or labels.min() < 0:
        raise vaezoo.DataError(f"{path}: condition must be a label for each of the {len(rows)} sequences, from 0")
    return Ragged(rows, labels.astype(np.int64), tuple(map(str, range(int(labels.max()) + 1))))


def _read_folder(path: Path) -> Ragged:
    files = sorted(path.glob("**/*.csv"))
    if not files:
        raise vaezoo.DataError(f"{path}: holds no csv file")
    rows = [_read_csv(file) for file in files]
    names = [file.parent.relative_to(path).as_posix() for file in files]
    if all(name == "." for name in names):
        return Ragged(rows)
    classes = tuple(sorted(set(names)))
    return Ragged(rows, np.array([classes.index(name) for name in names]), classes)


def _read_csv(file: Path) -> np.ndarray:
    """The numbers of one csv file, ``[steps, D]``; a first row that begins with no number is a header."""
    try:
        with open(file, newline="", encoding="utf-8-sig") as opened:
            table = [row for row in csv.reader(opened) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise vaezoo.DataError(f"{file}: {error}") from error
    values = []
    for number, row in enumerate(table):
        try:
            values.append([float(cell) for cell in row])
        except ValueError as error:
            if number or _is_number(row[0]):
                raise vaezoo.DataError(f"{file}: row {number + 1}: {error}") from error
    if not values or len({len(row) for row in values}) != 1:
        raise vaezoo.DataError(f"{file}: wants rows of numbers, all of one length")
    return np.array(values, np.float32)


def _is_number(cell: str) -> bool:
    try:
        return math.isfinite(float(cell))
    except ValueError:
        return False
