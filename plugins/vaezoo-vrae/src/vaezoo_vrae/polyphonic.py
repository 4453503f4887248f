"""The four sets of polyphonic music of Boulanger-Lewandowski et al. 2012, with their original splits."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from functools import cached_property, partial
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from annotated_types import Ge, Le
from torch import Tensor

import vaezoo
from vaezoo_vrae.ragged import ragged_split

KEYS = 88
LOWEST = 21
_SPLITS = {"train": "train", "validation": "valid", "test": "test"}


class Polyphonic(vaezoo.Dataset):
    """Piano-rolls of 88 keys from one npz file, split as published: what the literature measures nats per step on.

    The file has, for each set and split, ``jsb_train`` (packed bits, 11 bytes a step, the steps of all pieces one after
    another) and ``jsb_train_len`` (the steps of each piece). It is not part of the package.

    Args:
        path: the file; a relative path is looked for in the working directory, then in ``VAEZOO_DATA``.
        name: ``jsb`` (chorales), ``nottingham``, ``piano`` or ``muse``.
        transpose: training pieces are heard in another key each time, up to so many semitones higher or lower.
        window: training pieces are cut into stretches of at most so many steps; 0 takes them whole, as the other
            splits always are.
        steps_per_beat: how finely a quarter note is divided, which the file does not say; 0 takes 1 for ``jsb`` and 2
            for the others, as the lengths of their notes suggest.
    """

    def __init__(
        self,
        *,
        path: str = "polyphonic_bl2012.npz",
        name: Literal["jsb", "nottingham", "piano", "muse"] = "jsb",
        transpose: Annotated[int, Ge(0), Le(12)] = 0,
        window: Annotated[int, Ge(0)] = 0,
        steps_per_beat: Annotated[int, Ge(0)] = 0,
    ) -> None:
        self.path, self.name, self.transpose, self.window = path, name, transpose, window
        self.steps_per_beat = steps_per_beat or (1 if name == "jsb" else 2)

    @cached_property
    def _rolls(self) -> dict[str, list[np.ndarray]]:
        try:
            file = vaezoo.find_data(self.path)
        except vaezoo.DataError as error:
            raise vaezoo.UnavailableError(f"{error}; the sets of polyphonic music are not part of vaezoo") from error
        try:
            with np.load(file, allow_pickle=False) as opened:
                return {split: self._pieces(opened, f"{self.name}_{key}", file) for split, key in _SPLITS.items()}
        except (OSError, ValueError, TypeError, zipfile.BadZipFile, KeyError) as error:
            raise vaezoo.DataError(f"{file}: no readable set {self.name!r}: {' '.join(str(error).split())}") from error

    def _pieces(self, arrays: np.lib.npyio.NpzFile, key: str, file: Path) -> list[np.ndarray]:
        rolls = np.unpackbits(arrays[key], axis=1)[:, :KEYS]
        counts = arrays[f"{key}_len"]
        if counts.sum() != len(rolls) or counts.min(initial=1) < 1:
            raise vaezoo.DataError(f"{file}: {key}_len does not add up to the {len(rolls)} steps of {key}")
        return np.split(rolls, np.cumsum(counts)[:-1])

    @cached_property
    def spec(self) -> vaezoo.DataSpec:
        """Binary steps of 88 keys."""
        return roll_spec((row for rows in self._rolls.values() for row in rows), self.steps_per_beat)

    def split(self, name: str) -> vaezoo.Split:
        """One of the three splits, its pieces in the order of the file."""
        trains, rolls = name == "train", self._rolls[name]
        if self.window and trains:
            rolls = [part for roll in rolls for part in np.split(roll, range(self.window, len(roll), self.window))]
        moves = self.transpose and trains
        steps = max(map(len, rolls))
        return ragged_split(rolls, steps, partial(transposed, most=self.transpose) if moves else to_float)


def roll_spec(rolls: Iterable[np.ndarray], steps_per_beat: int) -> vaezoo.DataSpec:
    """Binary steps of 88 keys, as many as the longest of all piano-rolls ``[T, 88]`` has."""
    return vaezoo.DataSpec(
        (max(map(len, rolls)), KEYS), "binary", 2, variable_length=True, mask_dims=1, steps_per_beat=steps_per_beat
    )


def to_float(x: Tensor) -> Tensor:
    """0 and 1 as the numbers a model takes."""
    return x.float()


def transposed(x: Tensor, most: int) -> Tensor:
    """Piano-rolls ``[B, T, 88]`` as floats, each moved by a random number of keys, but none off the keyboard."""
    keys = torch.arange(KEYS, device=x.device)
    sounds = (x > 0).any(1)
    lowest = torch.where(sounds, keys, KEYS - 1).amin(1)
    highest = torch.where(sounds, keys, 0).amax(1)
    shift = torch.randint(-most, most + 1, (len(x),), device=x.device)
    shift = torch.maximum(torch.minimum(shift, KEYS - 1 - highest), -lowest)
    source = (keys - shift[:, None]) % KEYS
    return x.float().gather(2, source[:, None].expand(x.shape))
