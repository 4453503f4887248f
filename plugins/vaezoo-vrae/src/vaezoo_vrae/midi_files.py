"""Reads MIDI files as piano rolls, and writes piano rolls as MIDI files."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import vaezoo
from vaezoo_vrae.polyphonic import KEYS, LOWEST

if TYPE_CHECKING:
    from mido import Message

MAX_STEPS = 100_000
"""The greatest number of steps of a piece, unless an option says otherwise."""
_DRUM_CHANNEL = 9
_PATTERNS = 2
"""The type of MIDI files whose tracks have no common time."""
_LONG_NUMBER = re.compile(rb"[\x80-\xff]{4096}")
"""Bytes that are read as one number of thousands of digits; MIDI permits four bytes."""


@dataclass(frozen=True)
class Song:
    """A MIDI file as a piano roll.

    Attributes:
        roll: uint8 ``[T, 88]``.
        omitted: the kinds of notes that were omitted, in words.
    """

    roll: np.ndarray
    omitted: frozenset[str]


@dataclass(frozen=True)
class _Note:
    """A note in ticks; ``end`` is None if it never ends."""

    start: int
    end: int | None
    number: int
    channel: int


def read_song(path: Path, steps_per_beat: int, max_steps: int = MAX_STEPS) -> Song:
    """Reads the piano roll of a MIDI file.

    Raises:
        vaezoo.DataError: it is not a MIDI file, has no note of a piano, or has more steps than
            ``max_steps``; names the file.
    """
    ticks_per_beat, messages = _read_messages(path)
    ticks_per_step = ticks_per_beat / steps_per_beat
    omitted, spans = set(), []
    for note in _notes(messages):
        key = note.number - LOWEST
        if note.channel == _DRUM_CHANNEL:
            omitted.add("drums")
        elif note.end is None:
            omitted.add("notes that never end")
        elif not 0 <= key < KEYS:
            omitted.add(f"notes outside of the {KEYS} keys")
        elif note.end > max_steps * ticks_per_step:
            raise vaezoo.DataError(
                f"{path}: a note ends after more than {max_steps:,} steps; raise max_steps if the "
                "piece is so long"
            )
        else:
            start = round(note.start / ticks_per_step)
            spans.append((start, max(round(note.end / ticks_per_step), start + 1), key))
    if not spans:
        raise vaezoo.DataError(f"{path}: contains no note within the {KEYS} keys of a piano")
    roll = np.zeros((max(stop for _, stop, _ in spans), KEYS), np.uint8)
    for start, stop, key in spans:
        roll[start:stop, key] = 1
    return Song(roll, frozenset(omitted))


def _read_messages(path: Path) -> tuple[int, Sequence[Message]]:
    """The ticks of a quarter note, and the messages of all tracks in the order of time.

    Raises:
        DataError: the file cannot be read, or its tracks or steps have no common time.
    """
    import mido

    try:
        content = path.read_bytes()
        if number := _LONG_NUMBER.search(content):
            raise ValueError(f"the number at byte {number.start()} has thousands of digits")
        song = mido.MidiFile(file=io.BytesIO(content))
        messages = mido.merge_tracks(song.tracks)
    except EOFError as error:
        raise vaezoo.DataError(f"{path}: not a readable MIDI file: it ends too early") from error
    except Exception as error:  # mido raises many exception types, some without a message
        reason = " ".join(str(error).split()) or type(error).__name__
        raise vaezoo.DataError(f"{path}: not a readable MIDI file: {reason}") from error
    if song.ticks_per_beat <= 0:
        reason = "measures time in SMPTE frames" if song.ticks_per_beat else "has no unit of time"
        raise vaezoo.DataError(f"{path}: {reason}, which is not supported")
    if song.type == _PATTERNS:
        raise vaezoo.DataError(f"{path}: its tracks are independent patterns (MIDI type 2)")
    return song.ticks_per_beat, messages


def _notes(messages: Iterable[Message]) -> list[_Note]:
    """All notes, in the order of their ends; those that never end come last."""
    notes: list[_Note] = []
    active: dict[tuple[int, int], int] = {}  # the start of each note that is currently held
    now = 0
    for message in messages:
        now += message.time
        if message.type not in ("note_on", "note_off"):
            continue
        key = (message.channel, message.note)
        if key in active:
            notes.append(_Note(active.pop(key), now, message.note, message.channel))
        if message.type == "note_on" and message.velocity:
            active[key] = now
    held = [_Note(start, None, note, channel) for (channel, note), start in active.items()]
    return notes + held


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
