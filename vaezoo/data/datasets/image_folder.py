"""A data set of image files in folders."""

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
from vaezoo.data.splits import SPLIT_NAMES, Fractions, split_indices
from vaezoo.utils.errors import DataError, one_line
from vaezoo.utils.paths import find_data

_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"}
)
Item: TypeAlias = tuple[Path, int | None]
"""An image file and its label, None without classes."""


class ImageFolder(Dataset):
    """Image files: ``path/class/image.png`` with a folder per class, or ``path/image.png``.

    If ``path`` contains the folders train, validation and test, these are the splits, each with
    its own folders of classes. Images that fit in ``memory`` MiB are read once; otherwise each is
    read when it is needed.

    Args:
        path: the folder; a relative path is looked up in the working directory, then in
            ``VAEZOO_DATA``.
        channels: 1 for grey, 3 for colour.
        size: height and width to resize to; 0 keeps the size, which must then be the same for all.
        binarize: ``none`` for values from 0 to 1, or how to make them 0 or 1: ``threshold`` at one
            half; ``static``, sampled once; ``dynamic``, sampled anew each time in training.
        fractions: the shares of train, validation and test, if there are no folders for them.
        split_seed: decides which image belongs to which split.
        memory: the greatest size of a split, in MiB, up to which its images are held in memory.
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
        """Described by the first image, which all others must match."""
        return image_spec(self._shape, self.binarize, self._files[1])

    @cached_property
    def _shape(self) -> Shape:
        """The shape of the first training image, ``(C, H, W)``."""
        first = next(iter(self._files[0].values()))[0][0]
        return read_image(first, self.channels, self.size, shape=None).shape

    @cached_property
    def _files(self) -> tuple[dict[str, list[Item]], tuple[str, ...]]:
        """The files and labels of each split, and the names of the classes."""
        root = find_data(self.path)
        if not root.is_dir():
            raise DataError(f"{root}: not a folder")
        folders = [root / name for name in SPLIT_NAMES]
        if all(folder.is_dir() for folder in folders):
            classes = _class_names(folders[0])
            return {folder.name: _list_images(folder, classes) for folder in folders}, classes
        classes = _class_names(root)
        files = _list_images(root, classes)
        indices = split_indices(len(files), self.fractions, self.split_seed, str(root))
        return {name: [files[i] for i in index] for name, index in indices.items()}, classes

    def split(self, name: str) -> Split:
        """Returns one of the three splits."""
        files, train, seed = self._files[0][name], name == "train", SPLIT_NAMES.index(name)
        if len(files) * int(np.prod(self._shape)) > self.memory * 2**20:
            read = partial(_read_item, channels=self.channels, size=self.size, shape=self._shape)
            return lazy_split(files, read, self.binarize, train=train, seed=seed)
        x = np.stack(
            [read_image(file, self.channels, self.size, shape=self._shape) for file, _ in files]
        )
        labels = np.array([label for _, label in files]) if self._files[1] else None
        return image_split(x, labels, self.binarize, train=train, seed=seed)


def read_image(file: Path, channels: int, size: int, *, shape: Shape | None) -> np.ndarray:
    """Reads one image as uint8 ``[C, H, W]``.

    Args:
        file: the image file.
        channels: 1 for grey, 3 for colour.
        size: height and width to resize to; 0 keeps the size of the image.
        shape: the expected shape ``(C, H, W)``; None accepts any.

    Raises:
        DataError: the image cannot be read or has another shape; names the file.
    """
    try:
        with Image.open(file) as image:
            return to_pixels(image, channels=channels, size=size, shape=shape, source=str(file))
    except DataError:
        raise
    except Exception as error:  # the decoders raise many types on damaged files
        reason = one_line(error)
        raise DataError(f"{file}: not a readable image: {reason}") from error


def _read_item(
    item: Item, channels: int, size: int, shape: Shape
) -> tuple[np.ndarray, int | None]:
    file, label = item
    return read_image(file, channels, size, shape=shape), label


def _class_names(root: Path) -> tuple[str, ...]:
    """The sorted names of the folders in ``root``, without hidden ones."""
    folders = (path for path in root.iterdir() if path.is_dir())
    return tuple(sorted(path.name for path in folders if not path.name.startswith(".")))


def _list_images(root: Path, classes: tuple[str, ...]) -> list[Item]:
    """Lists every image with its label, in a fixed order.

    Raises:
        DataError: there is no image, or no folder or image of one class.
    """
    items: list[Item] = []
    folders: list[tuple[int | None, Path]] = [(i, root / name) for i, name in enumerate(classes)]
    for label, folder in folders or [(None, root)]:
        if not folder.is_dir():
            raise DataError(f"{folder}: missing, although other splits have this class")
        files = sorted(
            path
            for path in folder.iterdir()
            if path.suffix.lower() in _SUFFIXES and path.is_file()
        )
        if not files:
            raise DataError(f"{folder}: no image in this folder")
        items += [(file, label) for file in files]
    return items
