"""A data set of MIDI files."""

from __future__ import annotations

from functools import cached_property, partial
from pathlib import Path
from typing import Annotated

from annotated_types import Ge

import vaezoo
from vaezoo_vrae.dividing import DividedDataset, DividedSequences, divide
from vaezoo_vrae.formats import SourceMidi
from vaezoo_vrae.midi_files import MAX_STEPS, read_song
from vaezoo_vrae.polyphonic import piano_roll_spec, to_float
from vaezoo_vrae.proposals import propose_music
from vaezoo_vrae.ragged import Origin, RaggedSequences, ragged_split
from vaezoo_vrae.sources import Unreadable
from vaezoo_vrae.steps import PositiveInt

_SUFFIXES = frozenset({".mid", ".midi"})


class Midi(DividedDataset):
    """A folder of MIDI files as piano rolls of 88 keys: 1 while a key sounds.

    A note sounds for at least one step. A second note of a key ends the first. Drums are omitted,
    and so are notes that never end or lie outside of the 88 keys. Sub-folders train, validation
    and test are the splits; other sub-folders have no meaning.

    Args:
        path: the folder; a relative path is searched in the working directory, then in
            ``VAEZOO_DATA``.
        steps_per_beat: number of steps per quarter note.
        window: cut pieces into windows of this many steps; 0 keeps them in full.
        max_steps: the greatest number of steps of a piece; a longer one cannot be read.
        unreadable: what to do with a file that cannot be read, or has no note: ``error`` reports
            it, ``skip`` leaves it out and counts it.
        fractions: the fractions of train, validation and test; not used for splits that have a
            folder.
        split_seed: seed of the assignment of files to splits.
    """

    def __init__(
        self,
        *,
        path: vaezoo.DataPath,
        steps_per_beat: PositiveInt = 4,
        window: Annotated[int, Ge(0)] = 0,
        max_steps: PositiveInt = MAX_STEPS,
        unreadable: Unreadable = "error",
        fractions: vaezoo.Fractions = (0.8, 0.1, 0.1),
        split_seed: int = 0,
    ) -> None:
        self.path, self.steps_per_beat, self.window = path, steps_per_beat, window
        self.max_steps, self.unreadable = max_steps, unreadable
        self.fractions, self.split_seed = fractions, split_seed

    @classmethod
    def propose(cls, path: Path) -> vaezoo.Proposal:
        """A spec for files of this kind."""
        return propose_music(str(path), cls(path=str(path)))

    def file_format(self, data: vaezoo.DataSpec, path: Path) -> vaezoo.Format | None:
        """Pieces, or their windows."""
        if path.suffix.lower() not in _SUFFIXES:
            return None
        return SourceMidi(data, window=self.window, max_steps=self.max_steps)

    @cached_property
    def divided(self) -> DividedSequences:
        """The sequences of the splits."""
        root = vaezoo.find_data(self.path)
        folder = vaezoo.split_files(
            root, _SUFFIXES, fractions=self.fractions, split_seed=self.split_seed
        )
        read = partial(read_song, steps_per_beat=self.steps_per_beat, max_steps=self.max_steps)
        songs, skipped = folder.read_each(read, self.unreadable)
        omitted: dict[str, list[str]] = {}
        for file, song in (item for split in songs.values() for item in split.items()):
            for kind in song.omitted:
                omitted.setdefault(kind, []).append(folder.name(file))
        phrases = [
            phrase
            for kind in sorted(omitted)
            for phrase in vaezoo.count_phrase(
                omitted[kind], f"file with {kind}", f"files with {kind}"
            )
        ]
        rolls = {
            name: RaggedSequences(
                [song.roll for song in split.values()],
                origins=[Origin(folder.name(file)) for file in split],
            )
            for name, split in songs.items()
        }
        return divide(
            DividedSequences(rolls, (*folder.left_out, *skipped, *phrases)),
            self.fractions,
            self.split_seed,
            source=str(root),
            window=self.window,
            stride=self.window,
        )

    @cached_property
    def spec(self) -> vaezoo.DataSpec:
        """Binary steps of 88 keys."""
        return piano_roll_spec(self.divided.longest, self.steps_per_beat)

    def split(self, name: str) -> vaezoo.Split:
        """One of the three splits."""
        return ragged_split(self.divided.splits[name], self.spec.shape[0], to_float)
