"""Caltech 101 silhouettes, 28x28, read from an npz file with packed bits."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import numpy as np

import vaezoo

SIZE = 28
CLASSES = 101
_BYTES = -(-SIZE * SIZE // 8)
_FILE_SPLITS = {"train": "train", "validation": "val", "test": "test"}


class CaltechSilhouettes(vaezoo.Dataset):
    """Caltech 101 silhouettes: binary images 28x28 of 101 classes, with the official split.

    There are 4,100 training, 2,264 validation and 2,307 test images (Marlin et al. 2010). The
    object is 1 and the background 0. The condition is the class, counted from 0. As a baseline,
    independent Bernoulli pixels score 380 nats on the test split.

    The file is not part of the package. For each split it contains, for example, ``train_bits``
    (uint8 ``[n, 98]``: the pixels row by row, 8 in a byte, the background 1) and ``train_labels``
    (``[n]``, counted from 1); those of validation begin with ``val``.

    Args:
        path: the npz file; a relative path is searched in the working directory, then in
            ``VAEZOO_DATA``.
    """

    def __init__(
        self,
        *,
        path: vaezoo.DataPath = "caltech101_silhouettes/caltech101_silhouettes_28_split1.npz",
    ) -> None:
        self.path = path

    @cached_property
    def _arrays(self) -> Mapping[str, np.ndarray]:
        try:
            path = vaezoo.find_data(self.path)
        except vaezoo.DataError as error:
            raise vaezoo.UnavailableError(
                f"{error}; the file of silhouettes is not part of vaezoo"
            ) from error
        names = [f"{key}_{kind}" for key in _FILE_SPLITS.values() for kind in ("bits", "labels")]
        arrays = vaezoo.read_npz(path, names)
        if missing := [name for name in names if name not in arrays]:
            raise vaezoo.DataError(f"{path}: no silhouettes: has no array {missing[0]!r}")
        for key in _FILE_SPLITS.values():
            _check(arrays[f"{key}_bits"], arrays[f"{key}_labels"], key, path)
        return arrays

    @property
    def spec(self) -> vaezoo.DataSpec:
        """One binary channel, 28x28, 101 classes."""
        return vaezoo.image_spec((1, SIZE, SIZE), "threshold", tuple(map(str, range(CLASSES))))

    @property
    def sizes(self) -> Mapping[str, int]:
        """The number of images of each split."""
        return {name: len(self._arrays[f"{key}_bits"]) for name, key in _FILE_SPLITS.items()}

    def split(self, name: str) -> vaezoo.Split:
        """One of the three splits, with its images in the order of the file."""
        key = _FILE_SPLITS[name]
        background = np.unpackbits(self._arrays[f"{key}_bits"], axis=1)[:, : SIZE * SIZE]
        images = 255 * (1 - background).reshape(-1, 1, SIZE, SIZE)  # [n, 1, 28, 28]
        labels = self._arrays[f"{key}_labels"].astype(np.int64) - 1
        return vaezoo.image_split(images, labels, "threshold", train=name == "train", seed=0)


def _check(bits: np.ndarray, labels: np.ndarray, key: str, path: Path) -> None:
    """Raises DataError unless the arrays of a split are images and their classes."""
    if bits.dtype != np.uint8 or bits.shape[1:] != (_BYTES,) or not len(bits):
        raise vaezoo.DataError(
            f"{path}: {key}_bits must be bytes of shape [n, {_BYTES}], not {bits.dtype} "
            f"{bits.shape}"
        )
    if labels.dtype.kind not in "iu" or labels.shape != (len(bits),):
        raise vaezoo.DataError(
            f"{path}: {key}_labels must be {len(bits)} integers, not {labels.dtype} {labels.shape}"
        )
    if not (labels.min() >= 1 and labels.max() <= CLASSES):
        raise vaezoo.DataError(f"{path}: {key}_labels must be classes from 1 to {CLASSES}")
