"""Sequences as files that people read or listen to: text, MIDI, and sound."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch.nn.utils.rnn import pad_sequence

import vaezoo
from vaezoo_vrae.midi import read_roll, write_roll
from vaezoo_vrae.polyphonic import KEYS, LOWEST

_RATE = 22_050
_BEAT = 0.6  # seconds: a hundred a minute, as in MIDI files
_OVERTONES = (1.0, 0.45, 0.22, 0.1)


class Txt(vaezoo.Format):
    """Lines of text, one for each example, which ends with ``<eos>``; a beginning is a line without that.

    A symbol that training never saw counts as ``<unk>``, but no beginning may have one.
    """

    def __init__(self, data: vaezoo.DataSpec, /) -> None:
        super().__init__(data)
        if not {vaezoo.END, vaezoo.UNKNOWN} <= set(data.symbols):
            raise ValueError("these examples are no text; use .npz")
        self.bytes = all(len(symbol) == 4 and symbol.startswith("\\x") for symbol in data.symbols[2:])

    def write(self, path: Path, examples: vaezoo.Batch, columns: int) -> None:
        """Writes what sequences ``[n, T, C]`` say, line breaks within them as spaces."""
        lines = (" ".join(vaezoo.decode_symbols(row, self.data.symbols).splitlines()) for row in examples.sequences())
        path.write_text("".join(f"{line}\n" for line in lines), "utf-8")

    def read(self, path: Path) -> vaezoo.Batch:
        """Reads lines as one-hot sequences ``[n, T, C]``."""
        return self._encoded([[*self._symbols(line), vaezoo.END] for line in _lines(path)])

    def read_beginnings(self, path: Path) -> vaezoo.Batch:
        """The same without ``<eos>``."""
        lines, known = _lines(path), set(self.data.symbols)
        for letter in dict.fromkeys("".join(lines)):
            if not known.issuperset(self._symbols(letter)):
                raise vaezoo.DataError(f"{path}: {letter!r} is not in the training text; leave it out")
        return self._encoded([self._symbols(line) for line in lines])

    def _encoded(self, lines: list[list[str]]) -> vaezoo.Batch:
        place = {symbol: i for i, symbol in enumerate(self.data.symbols)}
        unknown = place[vaezoo.UNKNOWN]
        rows = [torch.tensor([place.get(symbol, unknown) for symbol in line]) for line in lines]
        mask = pad_sequence([torch.ones_like(row) for row in rows], batch_first=True) > 0
        x = F.one_hot(pad_sequence(rows, batch_first=True), len(place)).float()
        return vaezoo.Batch(x * mask[..., None], None, mask)

    def _symbols(self, line: str) -> list[str]:
        return [f"\\x{byte:02x}" for byte in line.encode()] if self.bytes else list(line)


def _lines(path: Path) -> list[str]:
    try:
        found = [line for line in path.read_text("utf-8-sig").splitlines() if line]
    except UnicodeDecodeError as error:
        raise vaezoo.DataError(f"{path}: not UTF-8 text: byte {error.start}; save it as UTF-8") from error
    if not found:
        raise vaezoo.DataError(f"{path}: holds no line")
    return found


class _Music(vaezoo.Format):
    single = True

    def __init__(self, data: vaezoo.DataSpec, /) -> None:
        super().__init__(data)
        if data.shape[1:] != (KEYS,) or data.support != "binary":
            raise ValueError(f"these examples are no piano-rolls of {KEYS} keys; use .npz")


class Mid(_Music):
    """A piano-roll as a MIDI file, a hundred quarter notes a minute; a key that sounds in successive steps is held."""

    def write(self, path: Path, examples: vaezoo.Batch, columns: int) -> None:
        """Writes one example ``[1, T, 88]``."""
        write_roll(examples.sequences()[0].numpy(), path, self.data.steps_per_beat)

    def read(self, path: Path) -> vaezoo.Batch:
        """Reads a piano-roll ``[1, T, 88]``."""
        return vaezoo.Batch(torch.from_numpy(read_roll(path, self.data.steps_per_beat))[None].float())


class Wav(_Music):
    """A piano-roll as sound: a few overtones for each key, fading while it is held; 16 bits, mono."""

    def write(self, path: Path, examples: vaezoo.Batch, columns: int) -> None:
        """Writes one example ``[1, T, 88]``."""
        sound = synthesised(examples.sequences()[0].numpy() > 0.5, _BEAT / self.data.steps_per_beat)
        with wave.open(str(path), "wb") as opened:
            opened.setnchannels(1)
            opened.setsampwidth(2)
            opened.setframerate(_RATE)
            opened.writeframes((sound * 32_000).astype("<i2").tobytes())


def synthesised(roll: np.ndarray, seconds: float = 0.15) -> np.ndarray:
    """The sound of a piano-roll ``[T, 88]``, from -1 to 1, at 22,050 samples a second, each step so long."""
    held = np.pad(roll, ((1, 1), (0, 0))).astype(np.int8)
    starts, ends = (np.argwhere(np.diff(held.T, axis=1) == sign) for sign in (1, -1))  # by key, then by step
    per_step = round(_RATE * seconds)
    tail = per_step // 2
    sound = np.zeros(len(roll) * per_step + tail)
    for (key, on), (_, off) in zip(starts, ends, strict=True):
        count = (off - on) * per_step + tail
        time = np.arange(count) / _RATE
        frequency = 440.0 * 2 ** ((key + LOWEST - 69) / 12)
        tone = sum(share * np.sin(2 * np.pi * frequency * (i + 1) * time) for i, share in enumerate(_OVERTONES))
        envelope = np.exp(-1.5 * time) * np.minimum(1, time / 0.01) * np.minimum(1, (count / _RATE - time) / 0.05)
        sound[on * per_step : on * per_step + count] += tone * envelope
    return sound / max(1.0, float(np.abs(sound).max()))
