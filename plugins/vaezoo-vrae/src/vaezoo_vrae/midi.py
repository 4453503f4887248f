"""MIDI files as piano-rolls, and piano-rolls as MIDI files."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt

import vaezoo
from vaezoo_vrae.polyphonic import KEYS, LOWEST, roll_spec, to_float
from vaezoo_vrae.ragged import ragged_split
from vaezoo_vrae.sequences import Ragged, divided


class Midi(vaezoo.Dataset):
    """A folder of MIDI files as piano-rolls of 88 keys: 1 where a key sounds. Drums are left out.

    Args:
        path: the folder; a relative path is looked for in the working directory, then in ``VAEZOO_DATA``.
        steps_per_beat: how finely a quarter note is divided.
        window: cut pieces into parts of so many steps; 0 takes them whole.
        fractions: the shares of train, validation and test.
        split_seed: decides which file goes where.
    """

    def __init__(
        self,
        *,
        path: str,
        steps_per_beat: Annotated[int, Gt(0)] = 4,
        window: Annotated[int, Ge(0)] = 0,
        fractions: vaezoo.Fractions = (0.8, 0.1, 0.1),
        split_seed: int = 0,
    ) -> None:
        self.path, self.steps_per_beat, self.window = path, steps_per_beat, window
        self.fractions, self.split_seed = fractions, split_seed

    @cached_property
    def _parts(self) -> dict[str, Ragged]:
        folder = vaezoo.find_data(self.path)
        files = sorted([*folder.glob("**/*.mid"), *folder.glob("**/*.midi")])
        if not files:
            raise vaezoo.DataError(f"{folder}: holds no .mid file")
        rolls = Ragged([read_roll(file, self.steps_per_beat) for file in files])
        return divided(rolls, self.fractions, self.split_seed, str(folder), self.window, self.window)

    @cached_property
    def spec(self) -> vaezoo.DataSpec:
        """Binary steps of 88 keys."""
        return roll_spec((row for part in self._parts.values() for row in part.rows), self.steps_per_beat)

    def split(self, name: str) -> vaezoo.Split:
        """One of the three splits."""
        return ragged_split(self._parts[name].rows, self.spec.shape[0], to_float)


def read_roll(file: Path, steps_per_beat: int) -> np.ndarray:
    """The piano-roll of a MIDI file, uint8 ``[T, 88]``.

    Raises:
        vaezoo.DataError: it is no MIDI file, or no key of the piano sounds in it.
    """
    import mido

    try:
        song = mido.MidiFile(file)
    except Exception as error:  # mido raises many kinds, some of its own, some without words
        said = str(error) or type(error).__name__
        raise vaezoo.DataError(f"{file}: not a readable MIDI file: {said}") from error
    if song.ticks_per_beat <= 0:
        raise vaezoo.DataError(f"{file}: counts time in frames, not in beats")
    notes: list[tuple[int, int, int]] = []
    sounding: dict[tuple[int, int], int] = {}
    now = 0
    for message in mido.merge_tracks(song.tracks):
        now += message.time
        if message.type not in ("note_on", "note_off") or message.channel == 9:
            continue
        key = (message.channel, message.note)
        if key in sounding:
            notes.append((sounding.pop(key), now, message.note))
        if message.type == "note_on" and message.velocity:
            sounding[key] = now
    per_step = song.ticks_per_beat / steps_per_beat
    spans = [(round(on / per_step), round(off / per_step), note - LOWEST) for on, off, note in notes]
    spans = [(on, max(off, on + 1), key) for on, off, key in spans if 0 <= key < KEYS]
    if not spans:
        raise vaezoo.DataError(f"{file}: no key of the piano sounds in it")
    roll = np.zeros((max(off for _, off, _ in spans), KEYS), np.uint8)
    for on, off, key in spans:
        roll[on:off, key] = 1
    return roll


def write_roll(roll: np.ndarray, file: Path, steps_per_beat: int = 4, beats_per_minute: float = 100.0) -> None:
    """A piano-roll ``[T, 88]`` as a MIDI file; a key that sounds in successive steps is held."""
    import mido

    ticks = 480
    held = np.pad(roll > 0.5, ((1, 1), (0, 0)))
    changes = np.diff(held.astype(np.int8), axis=0)  # [T + 1, 88]
    track = mido.MidiTrack([mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(beats_per_minute))])
    last = 0
    for step, key in sorted(map(tuple, np.argwhere(changes)), key=lambda at: (at[0], changes[at])):
        time = round(step * ticks / steps_per_beat)
        kind = "note_on" if changes[step, key] > 0 else "note_off"
        track.append(mido.Message(kind, note=int(key) + LOWEST, velocity=72, time=time - last))
        last = time
    song = mido.MidiFile(ticks_per_beat=ticks)
    song.tracks.append(track)
    song.save(file)
