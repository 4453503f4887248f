"""Sequences of numbers from an npz file or a folder of csv files.

Shapes: n sequences, T steps, D values per step.
"""

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
class RaggedSequences:
    """Sequences of different lengths, with or without labels.

    Attributes:
        sequences: ``[T_i, D]`` each, float32.
        labels: the label of each sequence, counted from 0; None without labels.
        classes: the names of the labels.
    """

    sequences: list[np.ndarray]
    labels: np.ndarray | None = None
    classes: tuple[str, ...] = ()


class Sequences(vaezoo.Dataset):
    """Sequences of vectors of the same width, from an npz file or a folder of csv files.

    The npz file contains ``x``: all sequences concatenated ``[steps, D]`` with their ``lengths``
    ``[n]``, or ``[n, T, D]``; and optionally ``condition`` ``[n]``, labels counted from 0. In a
    folder each csv file is a sequence with one row per step; a header is skipped, and files in
    subfolders are labelled with the name of the subfolder. Values are standardized with the mean
    and standard deviation of the training split, which are stored with the model, unless all
    values are 0 or 1.

    Args:
        path: the file (``x`` [steps, D] with ``lengths`` [n], or ``x`` [n, T, D]; labels
            ``condition`` [n]) or the folder (one csv file per sequence, one subfolder per class);
            a relative path is searched in the working directory, then in ``VAEZOO_DATA``.
        window: cut sequences into windows of this many steps, the last of which may be shorter; 0
            keeps them in full.
        stride: number of steps between the starts of two windows; 0 means ``window``.
        standardise: scale each column to mean 0 and standard deviation 1.
        fractions: the fractions of train, validation and test: of the sequences, or of the time of
            a single one.
        split_seed: seed of the assignment of sequences to splits.
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
            raise ValueError("stride needs window: set window too")
        self.path, self.window, self.stride, self.standardise = (
            path,
            window,
            stride or window,
            standardise,
        )
        self.fractions, self.split_seed = fractions, split_seed

    @cached_property
    def _splits(self) -> dict[str, RaggedSequences]:
        path = vaezoo.find_data(self.path)
        return split_sequences(
            read_sequences(path),
            self.fractions,
            self.split_seed,
            source=str(path),
            window=self.window,
            stride=self.stride,
        )

    @cached_property
    def spec(self) -> vaezoo.DataSpec:
        """The longest length of all splits; values are standardized with the training split."""
        return sequence_spec(self._splits, self.standardise)

    def split(self, name: str) -> vaezoo.Split:
        """One of the three splits."""
        split = self._splits[name]
        labels = None if split.labels is None else torch.from_numpy(split.labels)
        return ragged_split(split.sequences, self.spec.shape[0], self._standardize, labels)

    def _standardize(self, x: Tensor) -> Tensor:
        return self.spec.from_source_units(x)


def sequence_spec(splits: dict[str, RaggedSequences], standardize: bool) -> vaezoo.DataSpec:
    """The spec of sequences; ``standardize`` scales non-binary values by the training split."""
    sequences = [sequence for split in splits.values() for sequence in split.sequences]
    is_binary = all(bool(np.isin(sequence, (0, 1)).all()) for sequence in sequences)
    train = np.concatenate(splits["train"].sequences).astype(np.float64)  # [steps, D]
    is_scaled = standardize and not is_binary
    mean, deviation = train.mean(0).tolist(), train.std(0).tolist()
    fields = tuple(
        vaezoo.Field(str(i), "numeric", (i, i + 1), offset=mean[i], scale=deviation[i] or 1.0)
        for i in range(train.shape[1])
    )
    classes = splits["train"].classes
    return vaezoo.DataSpec(
        (max(len(sequence) for sequence in sequences), train.shape[1]),
        "binary" if is_binary else "real",
        levels=2 if is_binary else 0,
        variable_length=True,
        mask_dims=1,
        classes=classes,
        condition_shape=() if classes else None,
        fields=fields if is_scaled else (),
    )


def split_sequences(
    data: RaggedSequences,
    fractions: Sequence[float],
    seed: int,
    *,
    source: str,
    window: int = 0,
    stride: int = 0,
) -> dict[str, RaggedSequences]:
    """Splits sequences into train, validation and test, then cuts them into windows.

    Fewer than three sequences are split along time.

    Args:
        data: all sequences.
        fractions: of the three splits.
        seed: of the random assignment.
        source: the name of the data in error messages.
        window: steps per window; 0 for no windows.
        stride: steps between the starts of two windows.

    Raises:
        vaezoo.DataError: there are too few sequences or steps for three splits.
    """
    if len(data.sequences) >= 3:
        indices = vaezoo.split_indices(len(data.sequences), fractions, seed, source)
        splits = {
            name: RaggedSequences(
                [data.sequences[i] for i in index],
                None if data.labels is None else data.labels[index],
                data.classes,
            )
            for name, index in indices.items()
        }
    else:
        splits = _split_time(data, fractions)
    if window:
        splits = {name: _cut_windows(split, window, stride) for name, split in splits.items()}
    for name, split in splits.items():
        if not split.sequences:
            raise vaezoo.DataError(
                f"{source}: the {name} split is empty; provide more or longer sequences, "
                "or change fractions"
            )
    return splits


def _split_time(data: RaggedSequences, fractions: Sequence[float]) -> dict[str, RaggedSequences]:
    """Splits each sequence: first steps for training, then validation, last steps for test."""
    ends = np.cumsum(fractions)[:-1] / np.sum(fractions)
    pieces = [
        np.split(sequence, np.round(ends * len(sequence)).astype(int))
        for sequence in data.sequences
    ]
    splits = {}
    for i, name in enumerate(("train", "validation", "test")):
        index = [k for k, piece in enumerate(pieces) if len(piece[i])]
        labels = None if data.labels is None else data.labels[index]
        splits[name] = RaggedSequences([pieces[k][i] for k in index], labels, data.classes)
    return splits


def _cut_windows(data: RaggedSequences, window: int, stride: int) -> RaggedSequences:
    """Windows of ``window`` steps; the last one of a sequence may be shorter."""
    windows, index = [], []
    for i, sequence in enumerate(data.sequences):
        for start in range(0, max(len(sequence) - max(window - stride, 0), 1), stride):
            windows.append(sequence[start : start + window])
            index.append(i)
    return RaggedSequences(
        windows, None if data.labels is None else data.labels[index], data.classes
    )


def read_sequences(path: Path) -> RaggedSequences:
    """Reads sequences from an npz file or a folder of csv files.

    Raises:
        vaezoo.DataError: they cannot be read, differ in width, or contain NaN; names the file and
            the sequence.
    """
    data = _read_folder(path) if path.is_dir() else _read_npz(path)
    width = data.sequences[0].shape[1]
    for i, sequence in enumerate(data.sequences):
        if sequence.shape[1] != width or not len(sequence):
            raise vaezoo.DataError(
                f"{path}: sequence {i} has shape {sequence.shape}, not [steps, {width}]"
            )
        if not width:
            raise vaezoo.DataError(f"{path}: sequence {i} has steps without values")
        if not np.isfinite(sequence).all():
            raise vaezoo.DataError(f"{path}: sequence {i} contains NaN or infinity")
    return data


def _read_npz(path: Path) -> RaggedSequences:
    arrays = vaezoo.read_npz(path)
    x, lengths, labels = arrays["x"], arrays.get("lengths"), arrays.get("condition")
    if x.dtype.kind not in "fiub" or x.ndim != (3 if lengths is None else 2):
        raise vaezoo.DataError(
            f"{path}: needs a numeric array x [n, T, D], or x [steps, D] with lengths [n]"
        )
    if lengths is not None and (lengths.dtype.kind not in "iu" or int(lengths.sum()) != len(x)):
        raise vaezoo.DataError(f"{path}: lengths do not add up to the {len(x)} steps of x")
    if not len(x):
        raise vaezoo.DataError(f"{path}: contains no sequences")
    values = x.astype(np.float32)
    sequences = list(values) if lengths is None else np.split(values, np.cumsum(lengths)[:-1])
    if labels is None:
        return RaggedSequences(sequences)
    if labels.dtype.kind not in "iu" or labels.shape != (len(sequences),) or labels.min() < 0:
        raise vaezoo.DataError(
            f"{path}: condition must be a label for each of the {len(sequences)} sequences, "
            "counted from 0"
        )
    classes = tuple(map(str, range(int(labels.max()) + 1)))
    return RaggedSequences(sequences, labels.astype(np.int64), classes)


def _read_folder(path: Path) -> RaggedSequences:
    files = sorted(path.glob("**/*.csv"))
    if not files:
        raise vaezoo.DataError(f"{path}: contains no csv files")
    sequences = [_read_csv(file) for file in files]
    names = [file.parent.relative_to(path).as_posix() for file in files]
    if all(name == "." for name in names):
        return RaggedSequences(sequences)
    classes = tuple(sorted(set(names)))
    return RaggedSequences(sequences, np.array([classes.index(name) for name in names]), classes)


def _read_csv(path: Path) -> np.ndarray:
    """The numbers of a csv file, ``[steps, D]``.

    The first row is a header if its first cell is not a finite number.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            table = [row for row in csv.reader(file) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise vaezoo.DataError(f"{path}: {error}") from error
    values = []
    for number, row in enumerate(table):
        try:
            values.append([float(cell) for cell in row])
        except ValueError as error:
            if number or _is_number(row[0]):
                raise vaezoo.DataError(f"{path}: row {number + 1}: {error}") from error
    if not values or len({len(row) for row in values}) != 1:
        raise vaezoo.DataError(f"{path}: needs rows of numbers of the same length")
    return np.array(values, np.float32)


def _is_number(cell: str) -> bool:
    try:
        return math.isfinite(float(cell))
    except ValueError:
        return False
