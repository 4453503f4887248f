"""The four polyphonic music sets of Boulanger-Lewandowski et al. 2012, with original splits."""

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
LOWEST = 21  # MIDI number of the lowest key
_FILE_SPLITS = {"train": "train", "validation": "valid", "test": "test"}


class Polyphonic(vaezoo.Dataset):
    """Piano rolls of 88 keys from an npz file, with the published splits.

    The literature reports nats per step on these sets (Boulanger-Lewandowski et al. 2012). For
    each set and split the file contains, for example, ``jsb_train`` (packed bits, 11 bytes per
    step, all pieces concatenated) and ``jsb_train_len`` (the number of steps of each piece). The
    file is not part of the package.

    Args:
        path: the file; a relative path is searched in the working directory, then in
            ``VAEZOO_DATA``.
        name: ``jsb`` (chorales), ``nottingham``, ``piano`` or ``muse``.
        transpose: training pieces are transposed at random by up to this many semitones up or
            down.
        window: training pieces are cut into windows of at most this many steps; 0 keeps them in
            full, like the pieces of the other splits.
        steps_per_beat: number of steps per quarter note, which the file does not contain; 0 means
            1 for ``jsb`` and 2 for the other sets, as their note lengths suggest.
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
        """The pieces ``[T, 88]`` of each split."""
        try:
            path = vaezoo.find_data(self.path)
        except vaezoo.DataError as error:
            raise vaezoo.UnavailableError(
                f"{error}; the polyphonic music file is not part of vaezoo"
            ) from error
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return {
                    split: _read_pieces(arrays, f"{self.name}_{key}", path)
                    for split, key in _FILE_SPLITS.items()
                }
        except (OSError, ValueError, TypeError, zipfile.BadZipFile, KeyError) as error:
            raise vaezoo.DataError(
                f"{path}: no readable set {self.name!r}: {' '.join(str(error).split())}"
            ) from error

    @cached_property
    def spec(self) -> vaezoo.DataSpec:
        """Binary steps of 88 keys."""
        return piano_roll_spec(
            (roll for rolls in self._rolls.values() for roll in rolls), self.steps_per_beat
        )

    def split(self, name: str) -> vaezoo.Split:
        """One of the three splits, with its pieces in the order of the file."""
        is_train, rolls = name == "train", self._rolls[name]
        if self.window and is_train:
            rolls = [
                part
                for roll in rolls
                for part in np.split(roll, range(self.window, len(roll), self.window))
            ]
        is_transposed = self.transpose and is_train
        transform = (
            partial(transpose_rolls, max_shift=self.transpose) if is_transposed else to_float
        )
        return ragged_split(rolls, max(map(len, rolls)), transform)


def _read_pieces(arrays: np.lib.npyio.NpzFile, key: str, path: Path) -> list[np.ndarray]:
    """The pieces ``[T, 88]`` of one set and split."""
    rolls = np.unpackbits(arrays[key], axis=1)[:, :KEYS]
    lengths = arrays[f"{key}_len"]
    if lengths.sum() != len(rolls) or lengths.min(initial=1) < 1:
        raise vaezoo.DataError(
            f"{path}: {key}_len does not add up to the {len(rolls)} steps of {key}"
        )
    return np.split(rolls, np.cumsum(lengths)[:-1])


def piano_roll_spec(rolls: Iterable[np.ndarray], steps_per_beat: int) -> vaezoo.DataSpec:
    """Binary steps of 88 keys; the length is that of the longest piano roll ``[T, 88]``."""
    return vaezoo.DataSpec(
        (max(map(len, rolls)), KEYS),
        "binary",
        2,
        variable_length=True,
        mask_dims=1,
        facts={"vaezoo-vrae": {"steps_per_beat": steps_per_beat}},
    )


def to_float(x: Tensor) -> Tensor:
    """Binary data as floats, the input of a model."""
    return x.float()


def transpose_rolls(x: Tensor, max_shift: int) -> Tensor:
    """Shifts each piano roll by a random number of keys that keeps all notes on the keyboard.

    Args:
        x: ``[B, T, 88]``.
        max_shift: the largest shift in either direction.

    Returns:
        Floats ``[B, T, 88]``.
    """
    keys = torch.arange(KEYS, device=x.device)
    has_note = (x > 0).any(1)  # [B, 88]
    lowest = torch.where(has_note, keys, KEYS - 1).amin(1)
    highest = torch.where(has_note, keys, 0).amax(1)
    shift = torch.randint(-max_shift, max_shift + 1, (len(x),), device=x.device)
    shift = torch.maximum(torch.minimum(shift, KEYS - 1 - highest), -lowest)
    source = (keys - shift[:, None]) % KEYS  # [B, 88]
    return x.float().gather(2, source[:, None].expand(x.shape))  # source expanded to [B, T, 88]
