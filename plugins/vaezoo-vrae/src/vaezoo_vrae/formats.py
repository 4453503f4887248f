"""File formats for sequences: text, MIDI and sound.

Shapes: n sequences, T steps, S symbols.
"""

from __future__ import annotations

import wave
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch.nn.utils.rnn import pad_sequence

import vaezoo
from vaezoo_vrae.midi_files import read_song, write_roll
from vaezoo_vrae.polyphonic import KEYS, LOWEST
from vaezoo_vrae.text_files import Line, read_text_file

_SAMPLE_RATE = 22_050
_STEPS_PER_BEAT = 4  # of piano rolls whose data set does not say
_SECONDS_PER_BEAT = 0.6  # 100 beats per minute, as in the MIDI files
_PARTIALS = (1.0, 0.45, 0.22, 0.1)


class TextFormat(vaezoo.Format):
    """Lines of text, one per example.

    A line implies ``<eos>`` at its end, except in a file of prefixes. A symbol that is not in the
    training text is read as ``<unk>``; in a prefix it is an error.
    """

    def __init__(self, data: vaezoo.DataSpec, /) -> None:
        super().__init__(data)
        if not {vaezoo.END, vaezoo.UNKNOWN} <= set(data.symbols):
            raise ValueError("these examples are not text; use .npz")
        self.is_bytes = all(
            len(symbol) == 4 and symbol.startswith("\\x") for symbol in data.symbols[2:]
        )

    def write(self, path: Path, examples: vaezoo.Batch, columns: int) -> None:
        """Writes one-hot sequences ``[n, T, S]`` as lines; their line breaks become spaces."""
        texts = (
            vaezoo.decode_symbols(sequence, self.data.symbols) for sequence in examples.sequences()
        )
        lines = (" ".join(text.splitlines()) for text in texts)
        path.write_text("".join(f"{line}\n" for line in lines), "utf-8")

    def read(self, path: Path) -> vaezoo.Batch:
        """Reads lines as one-hot sequences ``[n, T, S]``."""
        return self._encode([[*self._symbols(line), vaezoo.END] for line in _read_lines(path)])

    def read_prefixes(self, path: Path) -> vaezoo.Batch:
        """Reads lines as prefixes: one-hot sequences ``[n, T, S]`` without ``<eos>``."""
        lines, known_symbols = _read_lines(path), set(self.data.symbols)
        for letter in dict.fromkeys("".join(lines)):
            if not known_symbols.issuperset(self._symbols(letter)):
                raise vaezoo.DataError(
                    f"{path}: {letter!r} is not in the training text; remove it"
                )
        return self._encode([self._symbols(line) for line in lines])

    def _encode(self, lines: list[list[str]]) -> vaezoo.Batch:
        symbol_index = {symbol: i for i, symbol in enumerate(self.data.symbols)}
        unknown = symbol_index[vaezoo.UNKNOWN]
        indices = [
            torch.tensor([symbol_index.get(symbol, unknown) for symbol in line]) for line in lines
        ]
        padded = pad_sequence(indices, batch_first=True)  # [n, T]
        mask = pad_sequence([torch.ones_like(index) for index in indices], batch_first=True) > 0
        x = F.one_hot(padded, len(symbol_index)).float()  # [n, T, S]
        return vaezoo.Batch(x * mask[..., None], None, mask)

    def _symbols(self, line: str) -> list[str]:
        return [f"\\x{byte:02x}" for byte in line.encode()] if self.is_bytes else list(line)


class SourceLines(TextFormat):
    """Lines of text, or rows of a csv file, read as the data set ``text`` reads its source.

    Empty lines are left out; the column ``label`` of a table holds labels.
    """

    def read(self, path: Path) -> vaezoo.Batch:
        """Reads lines as one-hot sequences ``[n, T, S]``."""
        return self.read_named(path).batch

    def read_named(self, path: Path) -> vaezoo.NamedBatch:
        """Reads lines, with the number of each, from 1."""
        lines = self._lines(path)
        batch = self._encode([[*self._symbols(line.text), vaezoo.END] for line in lines])
        batch = replace(batch, condition=self._labels(path, lines))
        return vaezoo.NamedBatch(batch, {"line": [int(line.place) for line in lines]})

    def _lines(self, path: Path) -> list[Line]:
        lines = [line for line in read_text_file(path)[0] if line.text]
        if not lines:
            raise vaezoo.DataError(f"{path}: contains no lines")
        return lines

    def _labels(self, path: Path, lines: list[Line]) -> torch.Tensor | None:
        """The labels ``[n]``; None if the model or the file has none."""
        classes = self.data.classes
        if not classes or lines[0].label is None:
            return None
        for line in lines:
            if line.label not in classes:
                raise vaezoo.DataError(
                    f"{path}:{line.place}: no class {line.label!r} in the training data"
                )
        return torch.tensor([classes.index(line.label) for line in lines if line.label])


def _read_lines(path: Path) -> list[str]:
    """The lines of a file, without empty ones at its end.

    Raises:
        DataError: it is no text, or a line is empty.
    """
    lines = vaezoo.read_text(path).rstrip("\r\n").splitlines()
    if not lines:
        raise vaezoo.DataError(f"{path}: contains no lines")
    if "" in lines:
        raise vaezoo.DataError(f"{path}:{lines.index('') + 1}: the line is empty; remove it")
    return lines


class _PianoRollFormat(vaezoo.Format):
    one_example_per_file = True

    def __init__(self, data: vaezoo.DataSpec, /) -> None:
        super().__init__(data)
        if data.shape[1:] != (KEYS,) or data.support != "binary":
            raise ValueError(f"these examples are not piano rolls of {KEYS} keys; use .npz")
        steps = data.facts.get("vaezoo-vrae", {}).get("steps_per_beat", _STEPS_PER_BEAT)
        if not isinstance(steps, int) or steps < 1:
            raise ValueError(f"steps_per_beat must be a whole number of at least 1, not {steps!r}")
        self.steps_per_beat = steps


class MidiFormat(_PianoRollFormat):
    """A piano roll as a MIDI file with 100 quarter notes per minute.

    A key that sounds in successive steps is one held note.
    """

    def write(self, path: Path, examples: vaezoo.Batch, columns: int) -> None:
        """Writes one example ``[1, T, 88]``."""
        write_roll(examples.sequences()[0].numpy(), path, self.steps_per_beat)

    def read(self, path: Path) -> vaezoo.Batch:
        """Reads a piano roll ``[1, T, 88]``."""
        roll = read_song(path, self.steps_per_beat).roll
        return vaezoo.Batch(torch.from_numpy(roll)[None].float())


class SourceMidi(MidiFormat):
    """MIDI files, read as the data set ``midi`` reads its source.

    Args:
        data: describes piano rolls.
        window: pieces are cut into windows of this many steps; 0 keeps them in full.
        max_steps: the greatest number of steps of a piece.
    """

    def __init__(self, data: vaezoo.DataSpec, /, *, window: int, max_steps: int) -> None:
        super().__init__(data)
        self.window, self.max_steps = window, max_steps

    def read(self, path: Path) -> vaezoo.Batch:
        """Reads a piano roll ``[1, T, 88]``, or its windows ``[n, window, 88]`` with a mask."""
        return self.read_named(path).batch

    def read_named(self, path: Path) -> vaezoo.NamedBatch:
        """Reads a piano roll or its windows, with the first step of each window, from 0."""
        song = read_song(path, self.steps_per_beat, self.max_steps)
        roll = torch.from_numpy(song.roll).float()
        windows = roll.split(self.window or len(roll))
        mask = pad_sequence([torch.ones(len(each)) for each in windows], batch_first=True) > 0
        batch = vaezoo.Batch(pad_sequence(list(windows), batch_first=True), None, mask)
        starts = {"start": list(range(0, len(roll), self.window))} if self.window else {}
        return vaezoo.NamedBatch(batch, starts)


class WavFormat(_PianoRollFormat):
    """A piano roll as sound: four partials per key, decaying while it is held; 16 bits, mono."""

    reads = False

    def write(self, path: Path, examples: vaezoo.Batch, columns: int) -> None:
        """Writes one example ``[1, T, 88]``."""
        roll = examples.sequences()[0].numpy() > 0.5
        sound = synthesize(roll, _SECONDS_PER_BEAT / self.steps_per_beat)
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(_SAMPLE_RATE)
            file.writeframes((sound * 32_000).astype("<i2").tobytes())


def synthesize(roll: np.ndarray, seconds_per_step: float = 0.15) -> np.ndarray:
    """The sound of a piano roll ``[T, 88]`` at 22,050 samples per second, from -1 to 1."""
    padded = np.pad(roll, ((1, 1), (0, 0))).astype(np.int8)
    changes = np.diff(padded.T, axis=1)  # [88, T + 1]: 1 where a note starts, -1 where it ends
    # pairs of key and step, sorted by key
    starts, ends = np.argwhere(changes == 1), np.argwhere(changes == -1)
    samples_per_step = round(_SAMPLE_RATE * seconds_per_step)
    tail = samples_per_step // 2
    sound = np.zeros(len(roll) * samples_per_step + tail)
    for (key, on), (_, off) in zip(starts, ends, strict=True):
        count = (off - on) * samples_per_step + tail
        time = np.arange(count) / _SAMPLE_RATE
        frequency = 440.0 * 2 ** ((key + LOWEST - 69) / 12)
        partials = (
            amplitude * np.sin(2 * np.pi * frequency * (i + 1) * time)
            for i, amplitude in enumerate(_PARTIALS)
        )
        attack = np.minimum(1, time / 0.01)
        release = np.minimum(1, (count / _SAMPLE_RATE - time) / 0.05)
        envelope = np.exp(-1.5 * time) * attack * release
        sound[on * samples_per_step : on * samples_per_step + count] += sum(partials) * envelope
    return sound / max(1.0, float(np.abs(sound).max()))
