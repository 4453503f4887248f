"""Reads MIDI files as piano rolls, and writes piano rolls as MIDI files."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
from annotated_types import Ge

import vaezoo
from vaezoo_vrae.polyphonic import KEYS, LOWEST, piano_roll_spec, to_float
from vaezoo_vrae.ragged import ragged_split
from vaezoo_vrae.sequences import RaggedSequences, split_sequences
from vaezoo_vrae.steps import PositiveInt

if TYPE_CHECKING:
    from mido import MidiFile

_DRUM_CHANNEL = 9


class Midi(vaezoo.Dataset):
    """A folder of MIDI files as piano rolls of 88 keys: 1 while a key sounds. Drums are omitted.

    Args:
        path: the folder; a relative path is searched in the working directory, then in
            ``VAEZOO_DATA``.
        steps_per_beat: number of steps per quarter note.
        window: cut pieces into windows of this many steps; 0 keeps them in full.
        fractions: the fractions of train, validation and test.
        split_seed: seed of the assignment of files to splits.
    """

    def __init__(
        self,
        *,
        path: str,
        steps_per_beat: PositiveInt = 4,
        window: Annotated[int, Ge(0)] = 0,
        fractions: vaezoo.Fractions = (0.8, 0.1, 0.1),
        split_seed: int = 0,
    ) -> None:
        self.path, self.steps_per_beat, self.window = path, steps_per_beat, window
        self.fractions, self.split_seed = fractions, split_seed

    @cached_property
    def _splits(self) -> dict[str, RaggedSequences]:
        folder = vaezoo.find_data(self.path)
        files = sorted([*folder.glob("**/*.mid"), *folder.glob("**/*.midi")])
        if not files:
            raise vaezoo.DataError(f"{folder}: contains no .mid files")
        return split_sequences(
            RaggedSequences([read_roll(file, self.steps_per_beat) for file in files]),
            self.fractions,
            self.split_seed,
            source=str(folder),
            window=self.window,
            stride=self.window,
        )

    @cached_property
    def spec(self) -> vaezoo.DataSpec:
        """Binary steps of 88 keys."""
        rolls = (roll for split in self._splits.values() for roll in split.sequences)
        return piano_roll_spec(rolls, self.steps_per_beat)

    def split(self, name: str) -> vaezoo.Split:
        """One of the three splits."""
        return ragged_split(self._splits[name].sequences, self.spec.shape[0], to_float)


def read_roll(path: Path, steps_per_beat: int) -> np.ndarray:
    """Reads the piano roll of a MIDI file, uint8 ``[T, 88]``.

    Raises:
        vaezoo.DataError: the file is not a MIDI file, or contains no note of a piano.
    """
    import mido

    try:
        song = mido.MidiFile(path)
    except Exception as error:  # mido raises many exception types, some without a message
        reason = str(error) or type(error).__name__
        raise vaezoo.DataError(f"{path}: not a readable MIDI file: {reason}") from error
    if song.ticks_per_beat <= 0:
        raise vaezoo.DataError(f"{path}: measures time in SMPTE frames, which is not supported")
    ticks_per_step = song.ticks_per_beat / steps_per_beat
    spans = [
        (round(on / ticks_per_step), round(off / ticks_per_step), note - LOWEST)
        for on, off, note in _read_notes(song)
    ]
    spans = [(on, max(off, on + 1), key) for on, off, key in spans if 0 <= key < KEYS]
    if not spans:
        raise vaezoo.DataError(f"{path}: contains no note within the {KEYS} keys of a piano")
    roll = np.zeros((max(off for _, off, _ in spans), KEYS), np.uint8)
    for on, off, key in spans:
        roll[on:off, key] = 1
    return roll


def _read_notes(song: MidiFile) -> list[tuple[int, int, int]]:
    """The start, end (in ticks) and MIDI number of each note, without drums."""
    import mido

    notes: list[tuple[int, int, int]] = []
    active: dict[tuple[int, int], int] = {}  # the start of each note that is currently held
    now = 0
    for message in mido.merge_tracks(song.tracks):
        now += message.time
        if message.type not in ("note_on", "note_off") or message.channel == _DRUM_CHANNEL:
            continue
        channel_and_note = (message.channel, message.note)
        if channel_and_note in active:
            notes.append((active.pop(channel_and_note), now, message.note))
        if message.type == "note_on" and message.velocity:
            active[channel_and_note] = now
    return notes


def write_roll(
    roll: np.ndarray, path: Path, steps_per_beat: int = 4, beats_per_minute: float = 100.0
) -> None:
    """Writes a piano roll ``[T, 88]`` as a MIDI file.

    A key that sounds in successive steps is one held note.
    """
    import mido

    ticks_per_beat = 480
    padded = np.pad(roll > 0.5, ((1, 1), (0, 0)))
    # [T + 1, 88]: 1 where a note starts, -1 where it ends
    changes = np.diff(padded.astype(np.int8), axis=0)
    track = mido.MidiTrack([mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(beats_per_minute))])
    last_time = 0
    # within a step, the ends of notes come before their starts
    for step, key in sorted(
        map(tuple, np.argwhere(changes)), key=lambda index: (index[0], changes[index])
    ):
        time = round(step * ticks_per_beat / steps_per_beat)
        kind = "note_on" if changes[step, key] > 0 else "note_off"
        track.append(
            mido.Message(kind, note=int(key) + LOWEST, velocity=72, time=time - last_time)
        )
        last_time = time
    song = mido.MidiFile(ticks_per_beat=ticks_per_beat)
    song.tracks.append(track)
    song.save(path)
