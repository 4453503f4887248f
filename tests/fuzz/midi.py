"""MIDI files: events, delta times, tracks, headers, and folders of them."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from tests.fuzz.harness import (
    Claim,
    Example,
    Folder,
    Format,
    Link,
    Source,
    becomes,
    bounded,
    refused,
    same,
)
from tests.fuzz.reading import Reading
from tests.fuzz.songs import DRUMS, Note, Song, TooLong, encode, make_notes, read_by_mido, roll_of


class Midi(Format):
    name = "midi"

    def make(self, rng: np.random.Generator) -> Source:
        options = {"fractions": [0.4, 0.3, 0.3], "steps_per_beat": int(rng.choice([1, 2, 4]))}
        source = Source("midi", options, "songs", content={})
        for number in range(4):
            folder = rng.choice(["", "more/"])
            source.content[f"songs/{folder}s{number}.mid"] = Song(make_notes(rng))
        _write(source)
        return source

    def expected(self, source: Source) -> list[Example]:
        return [{"roll": roll_of(song.notes)} for song in source.content.values()]

    def examples(self, reading: Reading, split: str) -> list[Example]:
        batch = reading.splits[split]
        return [{"roll": x[mask].numpy()} for x, mask in zip(batch.x, batch.mask, strict=True)]

    def reference(self, source: Source) -> Claim:
        examples = []
        for name in source.content:
            try:
                examples.append({"roll": read_by_mido(source, name)})
            except TooLong:
                return bounded(names=_file_names(source))
            except Exception:
                return refused(*_file_names(source), "songs")
        return becomes(examples, refusal="may", names=_file_names(source), tells=None)

    # the same in another form

    def mutate_writes_otherwise(self, source: Source, rng: np.random.Generator) -> Claim:
        """Tracks, running status, ticks and the way that notes end change nothing."""
        for song in source.content.values():
            song.tracks, song.ticks = int(rng.integers(1, 4)), int(rng.choice([4, 96, 480, 32764]))
            song.running, song.silent = bool(rng.integers(2)), bool(rng.integers(2))
        _write(source)
        return same()

    def mutate_plays_a_little_early_or_late(
        self, source: Source, rng: np.random.Generator
    ) -> Claim:
        """Less than half a step does not matter."""
        for song in source.content.values():
            song.ticks = 480
        _write(source, jitter=lambda: int(rng.integers(-50, 51)))
        return same()

    def mutate_adds_other_events(self, source: Source, rng: np.random.Generator) -> Claim:
        events = [b"\xb0\x40\x7f", b"\xc0\x05", b"\xe0\0\x40", b"\xd0\x11", b"\xa0\x3c\x11",
                  b"\xf0\x03\x01\x02\xf7",
                  b"\xff\x51\x03\x07\xa1\x20", b"\xff\x58\x04\x04\x02\x18\x08", b"\xff\x03\x03abc",
                  b"\xff\x01\x02\xff\xfe", b"\xff\x7f\x01\x00", b"\xff\x59\x02\x00\x00",
                  b"\xff\x2f\x00",
                  b"\xff\x54\x05\x20\x00\x00\x00\x00"]  # fmt: skip
        for song in source.content.values():
            for _ in range(3):
                song.others.append(
                    (int(rng.integers(0, 200)), events[rng.integers(len(events) - 2)])
                )
        _write(source)
        return same()

    def mutate_adds_notes_that_are_not_of_a_piano(
        self, source: Source, rng: np.random.Generator
    ) -> Claim:
        for song in source.content.values():
            song.notes += [Note(0, 1, 60, DRUMS), Note(0, 2, int(rng.choice([0, 20, 109, 127])))]
        _write(source)
        return same(tells=None)

    def mutate_doubles_notes(self, source: Source, rng: np.random.Generator) -> Claim:
        """The same notes on another channel are the same keys."""
        for song in source.content.values():
            song.notes += [Note(note.first, note.last, note.key, 3) for note in song.notes]
        _write(source)
        return same()

    def mutate_lengthens_the_header(self, source: Source, rng: np.random.Generator) -> Claim:
        for song in source.content.values():
            song.header = rng.bytes(4)
        _write(source)
        return same(refusal="may", names=_file_names(source))

    def mutate_adds_chunks(self, source: Source, rng: np.random.Generator) -> Claim:
        """Readers skip chunks that they do not know, says the standard."""
        name = _some(source, rng)
        data = source.files[name]
        assert isinstance(data, bytes)
        other = b"XFIH" + struct.pack(">I", 5) + rng.bytes(5)
        source.files[name] = data + other if rng.integers(2) else data[:14] + other + data[14:]
        return same(refusal="may", names=_file_names(source))

    # files and folders

    def mutate_adds_other_files(self, source: Source, rng: np.random.Generator) -> Claim:
        name = str(rng.choice(["notes.txt", "s0.mid.bak", "cover.png", "README"]))
        source.files[f"songs/{name}"] = rng.bytes(20)
        return same(tells=(name,))

    def mutate_adds_hidden_files(self, source: Source, rng: np.random.Generator) -> Claim:
        name = str(rng.choice(["._s0.mid", ".DS_Store", ".git/a.mid", "__MACOSX/._s0.mid"]))
        source.files[f"songs/{name}"] = rng.bytes(20)
        return same(tells=None)

    def mutate_renames(self, source: Source, rng: np.random.Generator) -> Claim:
        names = ["ä ö", "a\nb", "\x1b[31m", "%s", "\udcff", "a.b", "sub/x", "-x"]
        for file in list(source.content):
            suffix = str(rng.choice(["mid", "MID", "midi", "Midi"]))
            name = f"songs/{names[rng.integers(len(names))]}{rng.integers(999)}.{suffix}"
            source.content[name] = source.content.pop(file)
        _write(source)
        return becomes(self.expected(source))

    def mutate_divides_into_splits(self, source: Source, rng: np.random.Generator) -> Claim:
        names = [["train", "train", "valid", "test"], ["Train", "Train", "Val", "TEST"]]
        for folder, file in zip(names[rng.integers(2)], list(source.content), strict=True):
            source.content[f"songs/{folder}/{file[-6:]}"] = source.content.pop(file)
        _write(source)
        return becomes(self.expected(source))

    def mutate_copies_a_file(self, source: Source, rng: np.random.Generator) -> Claim:
        source.content["songs/z.mid"] = source.content[_some(source, rng)]
        _write(source)
        return becomes(self.expected(source))

    def mutate_adds_what_cannot_be_read(self, source: Source, rng: np.random.Generator) -> Claim:
        data = [b"", b"MThd", b"RIFF\0\0\0\0RMIDdata", rng.bytes(40), b"text\n", encode(Song([]))]
        source.files["songs/bad.mid"] = data[rng.integers(len(data))]
        return refused("bad.mid", "songs")

    def mutate_adds_a_link_to_nothing(self, source: Source, rng: np.random.Generator) -> Claim:
        source.files["songs/link.mid"] = Link(str(rng.choice(["nothing", "link.mid"])))
        return same(tells=("link.mid",), refusal="may", names=("link.mid",))

    def mutate_links_in_a_circle(self, source: Source, rng: np.random.Generator) -> Claim:
        source.files["songs/circle"] = Link(".")
        return same(tells=None, refusal="may")

    def mutate_gives_no_folder_of_songs(self, source: Source, rng: np.random.Generator) -> Claim:
        if rng.integers(2):
            source.files = {"songs/empty": Folder()}
            return refused("songs")
        source.path = next(iter(source.content))
        return refused()

    # the music

    def mutate_transposes(self, source: Source, rng: np.random.Generator) -> Claim:
        song = source.content[_some(source, rng)]
        song.notes = [Note(n.first, n.last, n.key + 1, n.channel) for n in song.notes]
        _write(source)
        return becomes(self.expected(source))

    def mutate_adds_a_note(self, source: Source, rng: np.random.Generator) -> Claim:
        song, start = source.content[_some(source, rng)], int(rng.integers(0, 40))
        song.notes.append(Note(start, start + int(rng.integers(1, 5)), 100))
        _write(source)
        return becomes(self.expected(source))

    def mutate_adds_a_note_far_out(self, source: Source, rng: np.random.Generator) -> Claim:
        """A few bytes must not become hours of silence."""
        name = _some(source, rng)
        song = source.content[name]
        ticks = int(rng.choice([2**28 - 1, 2**27]))
        if rng.integers(2):
            song.others += [(ticks, b"\x90\x40\x40"), (ticks + 1, b"\x80\x40\x40")]
        else:
            song.others += [(0, b"\x91\x40\x40"), (ticks, b"\x81\x40\x40")]
        song.ticks = int(rng.choice([1, 96]))
        if song.ticks == 1:
            song.notes = []
        _write(source)
        return refused(name.rpartition("/")[2])

    def mutate_leaves_notes_on(self, source: Source, rng: np.random.Generator) -> Claim:
        """A key that is never released sounds to the end of its file, or not at all."""
        song = source.content[_some(source, rng)]
        without = self.expected(source)
        end = max(note.last for note in song.notes)
        song.others.append((0, b"\x92\x6c\x40"))
        _write(source)
        song.notes = [*song.notes, Note(0, end, 108)]
        return becomes(
            self.expected(source), without, refusal="may", names=_file_names(source), tells=None
        )

    def mutate_strikes_again(self, source: Source, rng: np.random.Generator) -> Claim:
        """A key that is struck again before it is released goes on sounding."""
        song = source.content[_some(source, rng)]
        step = song.ticks // source.options["steps_per_beat"]
        song.others += [(0, b"\x93\x6c\x40"), (step, b"\x93\x6c\x40"), (3 * step, b"\x83\x6c\x40")]
        _write(source)
        song.notes = [*song.notes, Note(0, 3, 108)]
        return becomes(self.expected(source))

    def mutate_breaks_the_header(self, source: Source, rng: np.random.Generator) -> Claim:
        """Ticks of 0 or in frames, no tracks, a format that does not exist."""
        name = _some(source, rng)
        data = bytearray(source.files[name])  # type: ignore[arg-type]
        place, value = [
            (12, 0),
            (12, 0xE250),
            (10, 0),
            (10, 99),
            (8, 7),
            (4, 0xFFFF),
            (12, 0x8000),
        ][rng.integers(7)]
        struct.pack_into(">H", data, place, value)
        source.files[name] = bytes(data)
        if place == 12:
            return refused(name.rpartition("/")[2])
        return self.reference(source)

    def mutate_breaks_the_length_of_a_track(
        self, source: Source, rng: np.random.Generator
    ) -> Claim:
        name = _some(source, rng)
        data = bytearray(source.files[name])  # type: ignore[arg-type]
        place = data.index(b"MTrk") + 4
        size = struct.unpack_from(">I", data, place)[0]
        sizes = [0, size - 1, size + 1, size // 2, 2**31, 2**32 - 1]
        struct.pack_into(">I", data, place, sizes[rng.integers(len(sizes))])
        source.files[name] = bytes(data)
        return self.reference(source)

    def mutate_breaks_events(self, source: Source, rng: np.random.Generator) -> Claim:
        name = _some(source, rng)
        events = [b"\xff\xff\xff\xff\xff\xff\x7f", b"\0\x3c\x40", b"\0\x90\xff\xff",
                  b"\0\xf0\xff\xff\xff\x7f",
                  b"\0\xff\x51\x00", b"\0\xff\x51\x7f", b"\0\xff", b"\0\xf1\x00",
                  b"\0\xff\x59\x02\x7f\x7f",
                  b"\0\xff\x58\x00", b"\0\xff\x00\x01\x00", b"\0\xff\x20\x00",
                  b"\0\xff\x54\x05\xff\xff\xff\xff\xff",
                  b"\0\xf7", b"\0\xff\x03\x02\xff\xfe"]  # fmt: skip
        track = (
            events[rng.integers(len(events))] + b"\0\x90\x3c\x40\x60\x80\x3c\x40" + b"\0\xff\x2f\0"
        )
        header = b"MThd" + struct.pack(">IHHH", 6, 0, 1, 96)
        source.files[name] = header + b"MTrk" + struct.pack(">I", len(track)) + track
        return self.reference(source)


def _write(source: Source, **settings: Any) -> None:
    """Writes the songs anew; other files stay."""
    steps = source.options["steps_per_beat"]
    others = {
        name: data
        for name, data in source.files.items()
        if not name.lower().endswith(("mid", "midi"))
    }
    source.files = others | {
        name: encode(song, steps, **settings) for name, song in source.content.items()
    }


def _some(source: Source, rng: np.random.Generator) -> str:
    names = list(source.content)
    return str(names[rng.integers(len(names))])


def _file_names(source: Source) -> tuple[str, ...]:
    return tuple(name.rpartition("/")[2] for name in source.content)
