"""The four polyphonic music sets of Boulanger-Lewandowski et al. 2012, with original splits."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from annotated_types import Ge, Le
from torch import Tensor

import vaezoo
from vaezoo_vrae.ragged import RaggedSequences, ragged_split

KEYS = 88
_BYTES = KEYS // 8
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
        path: vaezoo.DataPath = "polyphonic_bl2012.npz",
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
        keys = {split: f"{self.name}_{key}" for split, key in _FILE_SPLITS.items()}
        names = [name for key in keys.values() for name in (key, f"{key}_len")]
        arrays = vaezoo.read_npz(path, names)
        for name in names:
            if name not in arrays:
                raise vaezoo.DataError(
                    f"{path}: no readable set {self.name!r}: has no array {name!r}"
                )
        return {split: _read_pieces(arrays, key, path) for split, key in keys.items()}

    @cached_property
    def spec(self) -> vaezoo.DataSpec:
        """Binary steps of 88 keys."""
        longest = max(len(roll) for rolls in self._rolls.values() for roll in rolls)
        return piano_roll_spec(longest, self.steps_per_beat)

    @property
    def sizes(self) -> Mapping[str, int]:
        """The number of pieces of each split; of training, of its windows."""
        return {name: len(self._pieces(name)) for name in _FILE_SPLITS}

    def split(self, name: str) -> vaezoo.Split:
        """One of the three splits, with its pieces in the order of the file."""
        rolls = self._pieces(name)
        is_transposed = self.transpose and name == "train"
        transform = (
            partial(transpose_rolls, max_shift=self.transpose) if is_transposed else to_float
        )
        return ragged_split(RaggedSequences(rolls), max(map(len, rolls)), transform)

    def _pieces(self, name: str) -> list[np.ndarray]:
        """The pieces of a split; those of training are cut into windows."""
        rolls = self._rolls[name]
        if not self.window or name != "train":
            return rolls
        return [
            part
            for roll in rolls
            for part in np.split(roll, range(self.window, len(roll), self.window))
        ]


def _read_pieces(arrays: Mapping[str, np.ndarray], key: str, path: Path) -> list[np.ndarray]:
    """The pieces ``[T, 88]`` of one set and split.

    Raises:
        DataError: the arrays are not valid.
    """
    packed, lengths = arrays[key], arrays[f"{key}_len"]
    if packed.dtype != np.uint8 or packed.shape[1:] != (_BYTES,):
        raise vaezoo.DataError(
            f"{path}: {key} must be bytes of shape [steps, {_BYTES}], not {packed.dtype} "
            f"{packed.shape}"
        )
    if lengths.dtype.kind not in "iu" or lengths.ndim != 1 or lengths.min(initial=1) < 1:
        raise vaezoo.DataError(f"{path}: {key}_len must be lengths from 1 up, of shape [n]")
    if not len(lengths) or sum(lengths.tolist()) != len(packed):
        raise vaezoo.DataError(
            f"{path}: {key}_len does not add up to the {len(packed)} steps of {key}"
        )
    rolls = np.unpackbits(packed, axis=1)[:, :KEYS]
    return np.split(rolls, np.cumsum(lengths)[:-1])


def piano_roll_spec(steps: int, steps_per_beat: int) -> vaezoo.DataSpec:
    """Binary steps of 88 keys; ``steps`` is the length of the longest piano roll."""
    return vaezoo.DataSpec(
        (steps, KEYS),
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
