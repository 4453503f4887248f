"""Images in folders."""

from __future__ import annotations

from functools import cached_property, partial
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import numpy as np
from annotated_types import Ge
from PIL import Image

from vaezoo.data.dataset import Dataset, Split
from vaezoo.data.dataspec import DataSpec, Shape
from vaezoo.data.images import Binarize, image_spec, image_split, lazy_split, to_pixels
from vaezoo.data.splits import NAMES, Fractions, split_indices
from vaezoo.utils.errors import DataError
from vaezoo.utils.paths import find_data

_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"})
Item: TypeAlias = tuple[Path, int | None]
"""A file and its label."""


class ImageFolder(Dataset):
    """Image files: ``path/class/image.png`` with a class per folder, or ``path/image.png`` without classes.

    Where ``path`` holds the folders train, validation and test, these are the splits. Images that all fit in
    ``memory`` MiB are read once; more are read as they are needed.

    Args:
        path: the folder; a relative path is looked for in the working directory, then in ``VAEZOO_DATA``.
        channels: 1 for grey, 3 for colour.
        size: height and width to resize to; 0 keeps images as they are, and then all must be alike.
        binarize: ``none``, ``threshold``, ``static`` or ``dynamic``.
        fractions: the shares of train, validation and test, where the folders do not say.
        split_seed: decides which image goes where.
        memory: MiB up to which all images are kept in memory.
    """

    def __init__(
        self,
        *,
        path: str,
        channels: Literal[1, 3] = 3,
        size: Annotated[int, Ge(0)] = 0,
        binarize: Binarize = "none",
        fractions: Fractions = (0.8, 0.1, 0.1),
        split_seed: int = 0,
        memory: Annotated[int, Ge(0)] = 2048,
    ) -> None:
        self.path, self.channels, self.size, self.binarize = path, channels, size, binarize
        self.fractions, self.split_seed, self.memory = fractions, split_seed, memory

    @cached_property
    def spec(self) -> DataSpec:
        """From the first image."""
        return image_spec(self._shape, self.binarize, self._files[1])

    @cached_property
    def _shape(self) -> Shape:
        first = next(iter(self._files[0].values()))[0][0]
        return read_image(first, self.channels, self.size, None).shape

    @cached_property
    def _files(self) -> tuple[dict[str, list[Item]], tuple[str, ...]]:
        """Files and labels by split, and the names of the classes."""
        root = find_data(self.path)
        if not root.is_dir():
            raise DataError(f"{root}: not a folder")
        folders = [root / name for name in NAMES]
        if all(folder.is_dir() for folder in folders):
            classes = _classes(folders[0])
            return {folder.name: _listed(folder, classes) for folder in folders}, classes
        classes = _classes(root)
        files = _listed(root, classes)
        parts = split_indices(len(files), self.fractions, self.split_seed, str(root))
        return {name: [files[i] for i in part] for name, part in parts.items()}, classes

    def split(self, name: str) -> Split:
        """One of the three splits."""
        files, train, seed = self._files[0][name], name == "train", NAMES.index(name)
        if len(files) * int(np.prod(self._shape)) > self.memory * 2**20:
            read = partial(_read, channels=self.channels, size=self.size, shape=self._shape)
            return lazy_split(files, read, self.binarize, train=train, seed=seed)
        x = np.stack([read_image(file, self.channels, self.size, self._shape) for file, _ in files])
        labels = np.array([label for _, label in files]) if self._files[1] else None
        return image_split(x, labels, self.binarize, train=train, seed=seed)


def read_image(file: Path, channels: int, size: int, shape: Shape | None) -> np.ndarray:
    """One image as uint8 ``[C, H, W]``.

    Raises:
        DataError: it cannot be read, or has another size than ``shape``; names the file.
    """
    try:
        with Image.open(file) as image:
            return to_pixels(image, channels, size, shape, str(file))
    except DataError:
        raise
    except Exception as error:  # each format raises its own kinds on damaged files
        raise DataError(f"{file}: not a readable image: {' '.join(str(error).split())}") from error


def _read(item: Item, channels: int, size: int, shape: Shape) -> tuple[np.ndarray, int | None]:
    file, label = item
    return read_image(file, channels, size, shape), label


def _classes(root: Path) -> tuple[str, ...]:
    return tuple(sorted(p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith(".")))


def _listed(root: Path, classes: tuple[str, ...]) -> list[Item]:
    """Every image with its label, in a fixed order.

    Raises:
        DataError: there is no image, or a class without one.
    """
    found: list[Item] = []
    folders: list[tuple[int | None, Path]] = [(i, root / name) for i, name in enumerate(classes)]
    for label, folder in folders or [(None, root)]:
        if not folder.is_dir():
            raise DataError(f"{folder}: missing, although other splits have this class")
        files = sorted(p for p in folder.iterdir() if p.suffix.lower() in _SUFFIXES and p.is_file())
        if not files:
            raise DataError(f"{folder}: no image in this folder")
        found += [(file, label) for file in files]
    return found
