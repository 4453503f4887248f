"""Bach's chorales as piano rolls, from the corpus included in music21."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cached_property
from typing import Any

import numpy as np

import vaezoo
from vaezoo_vrae.dividing import DividedDataset, DividedSequences, divide
from vaezoo_vrae.polyphonic import KEYS, LOWEST, piano_roll_spec, to_float
from vaezoo_vrae.ragged import ragged_split
from vaezoo_vrae.sequence_files import read_npz_file
from vaezoo_vrae.steps import PositiveInt


class Chorales(DividedDataset):
    """About 370 four-part chorales as piano rolls of 88 keys.

    Needs the extra ``vaezoo-vrae[chorales]``. The rolls are built once from music21's corpus,
    which takes one or two minutes, and cached in ``VAEZOO_HOME`` (``~/.cache/vaezoo``). They are
    not the JSB set of the literature, which has different splits and steps: see ``polyphonic``.

    Args:
        steps_per_beat: number of steps per quarter note.
        fractions: the fractions of train, validation and test.
        split_seed: seed of the assignment of chorales to splits.
    """

    def __init__(
        self,
        *,
        steps_per_beat: PositiveInt = 1,
        fractions: vaezoo.Fractions = (0.6, 0.2, 0.2),
        split_seed: int = 0,
    ) -> None:
        self.steps_per_beat = steps_per_beat
        self.fractions, self.split_seed = fractions, split_seed

    @cached_property
    def divided(self) -> DividedSequences:
        """The sequences of the splits."""
        try:
            import music21
        except ImportError as error:
            reason = "data set chorales needs music21: pip install 'vaezoo-vrae[chorales]'"
            raise vaezoo.UnavailableError(reason) from error
        file_name = f"chorales-{music21.__version__}-{self.steps_per_beat}.npz"
        path = vaezoo.cache_home() / "data" / file_name
        if not path.is_file():
            rolls = [
                score_to_roll(score, self.steps_per_beat)
                for score in music21.corpus.chorales.Iterator()
            ]
            lengths = [len(roll) for roll in rolls]
            with vaezoo.atomic_write(path) as temporary, open(temporary, "wb") as file:
                np.savez_compressed(file, x=np.concatenate(rolls), lengths=lengths)
        return divide(read_npz_file(path), self.fractions, self.split_seed, source=str(path))

    @cached_property
    def spec(self) -> vaezoo.DataSpec:
        """Binary steps of 88 keys."""
        return piano_roll_spec(self.divided.longest, self.steps_per_beat)

    def split(self, name: str) -> vaezoo.Split:
        """One of the three splits."""
        return ragged_split(self.divided.splits[name], self.spec.shape[0], to_float)


def score_to_roll(score: Any, steps_per_beat: int) -> np.ndarray:
    """The piano roll of a music21 score, uint8 ``[T, 88]``: keys that sound as a step begins."""
    notes: Iterable[Any] = score.flatten().notes
    spans = [
        (note.offset, note.offset + note.quarterLength, pitch.midi)
        for note in notes
        for pitch in note.pitches
    ]
    roll = np.zeros((math.ceil(max(end for _, end, _ in spans) * steps_per_beat), KEYS), np.uint8)
    for start, end, pitch in spans:
        first, last = math.ceil(start * steps_per_beat), math.ceil(end * steps_per_beat)
        roll[first:last, pitch - LOWEST] = 1
    return roll
