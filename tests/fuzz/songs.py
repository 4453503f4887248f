"""Songs: how they are written to MIDI files and read from them."""

from __future__ import annotations

import io
import struct
import warnings
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from tests.fuzz.harness import (
    Source,
)

_LOWEST, _KEYS, DRUMS = 21, 88, 9


_LONGEST = 5_000
"""Steps of the longest piece that must be read where another reader reads it."""


Event: TypeAlias = tuple[int, bytes]
"""The time in ticks, and the bytes of a message."""


@dataclass(frozen=True)
class Note:
    """From the first step up to, but not including, the last one."""

    first: int
    last: int
    key: int
    channel: int = 0


@dataclass
class Song:
    """The notes of a file, and how it is written.

    Attributes:
        notes: in any order; notes of one key and channel do not overlap.
        ticks: per quarter note.
        others: events that are no notes of a piano.
        tracks: over how many tracks the events are distributed.
        running: whether repeated status bytes are left out.
        silent: whether notes end with a note on of velocity 0.
        header: bytes after the header.
    """

    notes: list[Note]
    ticks: int = 96
    others: list[Event] = field(default_factory=list)
    tracks: int = 1
    running: bool = False
    silent: bool = False
    header: bytes = b""


class TooLong(Exception):
    """A piece is longer than what must be read."""


def roll_of(notes: list[Note]) -> np.ndarray:
    """The piano roll ``[T, 88]`` of notes, without drums and keys that a piano lacks."""
    notes = [n for n in notes if n.channel != DRUMS and 0 <= n.key - _LOWEST < _KEYS]
    roll = np.zeros((max(note.last for note in notes), _KEYS))
    for note in notes:
        roll[note.first : note.last, note.key - _LOWEST] = 1
    return roll


def read_by_mido(source: Source, name: str) -> np.ndarray:
    """The piano roll of a file by mido.

    Raises:
        Exception: it cannot be read, or has no note.
        TooLong: it has more steps than must be read.
    """
    import mido

    data = source.files[name]
    assert isinstance(data, bytes)
    with warnings.catch_warnings(action="ignore"):
        song = mido.MidiFile(file=io.BytesIO(data))
    step = song.ticks_per_beat / source.options["steps_per_beat"]
    if step <= 0:
        raise ValueError
    notes, held, now = [], defaultdict(list), 0
    for message in mido.merge_tracks(song.tracks):
        now += message.time
        if message.type not in ("note_on", "note_off"):
            continue
        place = (message.channel, message.note)
        for start in held.pop(place, []):
            first = round(start / step)
            notes.append(
                Note(first, max(round(now / step), first + 1), message.note, message.channel)
            )
        if message.type == "note_on" and message.velocity:
            held[place] = [now]
    last = max(note.last for note in notes)
    if last > _LONGEST or held:
        raise TooLong
    return roll_of(notes)


def encode(song: Song, steps_per_beat: int = 4, jitter: Any = lambda: 0) -> bytes:
    """A MIDI file."""
    events: list[tuple[int, int, bytes]] = [(time, 1, data) for time, data in song.others]
    for note in song.notes:
        step = song.ticks / steps_per_beat
        first, last = (max(0, round(n * step) + jitter()) for n in (note.first, note.last))
        events.append((first, 2, bytes([0x90 | note.channel, note.key, 64])))
        end = (0x90, 0) if song.silent else (0x80, 64)
        events.append((last, 0, bytes([end[0] | note.channel, note.key, end[1]])))
    tracks = [_track(sorted(events[i :: song.tracks]), song.running) for i in range(song.tracks)]
    size = 6 + len(song.header)
    header = struct.pack(">IHHH", size, int(song.tracks > 1), song.tracks, song.ticks)
    return b"MThd" + header + song.header + b"".join(tracks)


def _track(events: list[tuple[int, int, bytes]], running: bool) -> bytes:
    data, now, status = bytearray(), 0, 0
    for time, _, message in events:
        data += _variable(time - now)
        is_repeated = running and message[0] == status and message[0] < 0xF0
        data += message[1:] if is_repeated else message
        now, status = time, message[0]
    data += b"\0\xff\x2f\0"
    return b"MTrk" + struct.pack(">I", len(data)) + bytes(data)


def _variable(number: int) -> bytes:
    """A number in groups of seven bits."""
    data = [number & 0x7F]
    while number := number >> 7:
        data.append(0x80 | (number & 0x7F))
    return bytes(reversed(data))


def make_notes(rng: np.random.Generator) -> list[Note]:
    """Notes of one channel; those of one key follow each other."""
    notes = []
    for key in rng.choice(np.arange(24, 100), 4, replace=False):
        ends = np.cumsum(rng.integers(1, 4, 4))
        notes += [Note(int(a), int(b), int(key)) for a, b in (ends[:2], ends[2:])]
    return notes
