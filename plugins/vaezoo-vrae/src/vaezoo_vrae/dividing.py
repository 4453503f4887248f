"""Divides sequences into splits, and cuts them into windows."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

import vaezoo
from vaezoo_vrae.ragged import RaggedSequences
from vaezoo_vrae.sources import ALL

_SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class DividedSequences:
    """Sequences by split.

    Attributes:
        splits: by the name of the split; or all under ``ALL`` if they are yet to be divided.
        left_out: what of their source is not used.
        notes: what of their source to check.
    """

    splits: Mapping[str, RaggedSequences]
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def sizes(self) -> dict[str, int]:
        """The number of sequences of each split."""
        return {name: len(split.sequences) for name, split in self.splits.items()}

    @property
    def longest(self) -> int:
        """The number of steps of the longest sequence."""
        return max(len(one) for split in self.splits.values() for one in split.sequences)


class DividedDataset(vaezoo.Dataset):
    """A data set of divided sequences: how many there are, and what was left out of them."""

    @property
    @abstractmethod
    def divided(self) -> DividedSequences:
        """The sequences of the splits."""

    @property
    def sizes(self) -> Mapping[str, int]:
        """The number of sequences, pieces or windows of each split."""
        return self.divided.sizes

    @property
    def left_out(self) -> Sequence[str]:
        """Files, arrays, sequences and notes that are not used."""
        return self.divided.left_out

    @property
    def notes(self) -> Sequence[str]:
        """Classes that training does not have."""
        return self.divided.notes


def divide(
    given: DividedSequences,
    fractions: Sequence[float],
    seed: int,
    *,
    source: str,
    window: int = 0,
    stride: int = 0,
    fewest: int = len(_SPLITS),
) -> DividedSequences:
    """Splits sequences into train, validation and test, then cuts them into windows.

    Fewer than ``fewest`` sequences are each split along time. Sequences and windows without an
    observed step are left out.

    Args:
        given: all sequences; those of splits are kept as they are.
        fractions: of the three splits.
        seed: of the random assignment.
        source: the name of the data in error messages.
        window: steps per window; 0 for no windows.
        stride: steps between the starts of two windows.
        fewest: the smallest number of sequences that are assigned to splits as a whole.

    Raises:
        vaezoo.DataError: there are too few sequences or steps for three splits.
    """
    splits = dict(given.splits)
    if ALL in splits:
        data = splits[ALL]
        if len(data.sequences) >= fewest:
            indices = vaezoo.split_indices(len(data.sequences), fractions, seed, source)
            splits = {name: data.select(index) for name, index in indices.items()}
        else:
            splits = _split_time(data, fractions)
    if window:
        splits = {name: _cut_windows(split, window, stride) for name, split in splits.items()}
    hidden, shown = [], {}
    for name, split in splits.items():
        shown[name] = split.without_hidden()
        hidden += [name] * (len(split.sequences) - len(shown[name].sequences))
        if not shown[name].sequences:
            raise vaezoo.DataError(
                f"{source}: the {name} split is empty; provide more or longer sequences, "
                "or change fractions"
            )
    one, many = "piece with no observed step", "pieces with no observed step"
    left_out = (*given.left_out, *vaezoo.count_phrase(hidden, one, many))
    train = shown["train"]
    notes = (*given.notes, *vaezoo.untrained_classes(train.labels, train.classes))
    return DividedSequences(shown, left_out, notes)


def _split_time(data: RaggedSequences, fractions: Sequence[float]) -> dict[str, RaggedSequences]:
    """Splits each sequence: first steps for training, then validation, last steps for test."""
    shares = np.cumsum(fractions)[:-1] / np.sum(fractions)
    ends = [np.round(shares * len(sequence)).astype(int) for sequence in data.sequences]
    splits = {}
    for place, name in enumerate(_SPLITS):
        spans = []
        for i, sequence in enumerate(data.sequences):
            start, stop = [0, *ends[i], len(sequence)][place : place + 2]
            spans.append((i, slice(start, stop)))
        splits[name] = _cut(data, spans)
    return splits


def _cut_windows(data: RaggedSequences, window: int, stride: int) -> RaggedSequences:
    """Windows of ``window`` steps; the last one of a sequence may be shorter."""
    return _cut(
        data,
        [
            (i, slice(start, start + window))
            for i, sequence in enumerate(data.sequences)
            for start in window_starts(len(sequence), window, stride)
        ],
    )


def window_starts(steps: int, window: int, stride: int) -> range:
    """The steps at which the windows of a sequence start; the last one may be shorter.

    Args:
        steps: of the sequence.
        window: steps of a window.
        stride: steps between the starts of two windows.
    """
    return range(0, max(steps - max(window - stride, 0), 1), stride)


def _cut(data: RaggedSequences, spans: Sequence[tuple[int, slice]]) -> RaggedSequences:
    """Pieces of sequences: the index of each one's sequence, and its steps."""
    observed, origins = data.observed, data.origins
    return RaggedSequences(
        [data.sequences[i][steps] for i, steps in spans],
        None if data.labels is None else data.labels[[i for i, _ in spans]],
        data.classes,
        None if observed is None else [observed[i][steps] for i, steps in spans],
        None if origins is None else [origins[i].shifted(steps.start) for i, steps in spans],
    )
