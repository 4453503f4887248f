"""Bach's chorales as piano-rolls, from the corpus that music21 ships."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cached_property
from typing import Annotated, Any

import numpy as np
from annotated_types import Gt

import vaezoo
from vaezoo_vrae.polyphonic import KEYS, LOWEST, roll_spec, to_float
from vaezoo_vrae.ragged import ragged_split
from vaezoo_vrae.sequences import Ragged, divided, read


class Chorales(vaezoo.Dataset):
    """Some 370 four-part chorales as piano-rolls of 88 keys: the extra ``vaezoo-vrae[chorales]``.

    They are built from music21's corpus once, which takes a minute or two, and kept in ``VAEZOO_HOME``
    (``~/.cache/vaezoo``). They are not the JSB set of the literature, whose splits and steps are others: see
    ``polyphonic``.

    Args:
        steps_per_beat: how finely a quarter note is divided.
        fractions: the shares of train, validation and test.
        split_seed: decides which chorale goes where.
    """

    def __init__(
        self,
        *,
        steps_per_beat: Annotated[int, Gt(0)] = 1,
        fractions: vaezoo.Fractions = (0.6, 0.2, 0.2),
        split_seed: int = 0,
    ) -> None:
        self.steps_per_beat, self.fractions, self.split_seed = steps_per_beat, fractions, split_seed

    @cached_property
    def _parts(self) -> dict[str, Ragged]:
        try:
            import music21
        except ImportError as error:
            reason = "data set chorales needs music21: pip install 'vaezoo-vrae[chorales]'"
            raise vaezoo.UnavailableError(reason) from error
        file = vaezoo.cache_home() / "data" / f"chorales-{music21.__version__}-{self.steps_per_beat}.npz"
        if not file.is_file():
            rolls = [roll_of(score, self.steps_per_beat) for score in music21.corpus.chorales.Iterator()]
            lengths = [len(roll) for roll in rolls]
            with vaezoo.atomic_write(file) as temporary, open(temporary, "wb") as opened:
                np.savez_compressed(opened, x=np.concatenate(rolls), lengths=lengths)
        return divided(read(file), self.fractions, self.split_seed, str(file))

    @cached_property
    def spec(self) -> vaezoo.DataSpec:
        """Binary steps of 88 keys."""
        return roll_spec((row for part in self._parts.values() for row in part.rows), self.steps_per_beat)

    def split(self, name: str) -> vaezoo.Split:
        """One of the three splits."""
        return ragged_split(self._parts[name].rows, self.spec.shape[0], to_float)


def roll_of(score: Any, steps_per_beat: int) -> np.ndarray:
    """The piano-roll of a music21 score, uint8 ``[T, 88]``: the keys that sound when a step begins."""
    notes: Iterable[Any] = score.flatten().notes
    spans = [(note.offset, note.offset + note.quarterLength, pitch.midi) for note in notes for pitch in note.pitches]
    roll = np.zeros((math.ceil(max(end for _, end, _ in spans) * steps_per_beat), KEYS), np.uint8)
    for start, end, pitch in spans:
        roll[math.ceil(start * steps_per_beat) : math.ceil(end * steps_per_beat), pitch - LOWEST] = 1
    return roll
