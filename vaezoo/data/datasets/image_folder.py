"""A data set of image files in folders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Gt

from vaezoo.data.class_folders import ClassFolders, Item, read_class_folders
from vaezoo.data.dataset import Dataset, Split
from vaezoo.data.datasets.image_proposal import propose
from vaezoo.data.dataspec import DataSpec, Shape
from vaezoo.data.factors import Factors, read_factor_file
from vaezoo.data.format import Format
from vaezoo.data.image_files import (
    MAX_PIXELS,
    PAGED_SUFFIXES,
    REPLACE_HINT,
    SUFFIXES,
    Background,
    ImageReader,
    count_pages,
)
from vaezoo.data.image_format import ImageFormat, is_image_file
from vaezoo.data.images import Binarize, image_spec, image_split, lazy_split
from vaezoo.data.phrases import count_phrase
from vaezoo.data.proposal import Proposal
from vaezoo.data.split_files import SKIP_HINT, Unreadable, read_each
from vaezoo.data.splits import SPLIT_NAMES, Fractions, complete_splits
from vaezoo.utils.paths import DataPath, find_data

_MAX_OPENED = 2000
"""The number of files whose further pages are counted at the start."""


class ImageFolder(Dataset):
    """Image files: ``path/class/image.png`` with a folder per class, or ``path/image.png``.

    If ``path`` contains the folders train, validation and test, these are the splits, each with
    its own folders of classes. They may be called training, valid, val, dev or testing, too, in
    any case. A split that has no folder is cut out of the training images, never out of the test
    images. A folder train among others that are no splits is a class, unless it holds folders.

    Images are read upright, as their EXIF data says. What has more than 8 bits is scaled to 8 by
    the range of its type, floats by the range 0 to 1. Of several pages or frames the first is
    used. Images that fit in ``memory`` MiB are read once; otherwise each is read when needed.

    Args:
        path: the folder; a relative path is looked up in the working directory, then in
            ``VAEZOO_DATA``.
        channels: 1 for grey, 3 for colour, 4 for colour and opacity.
        size: height and width to resize to; 0 keeps the size, which must then be the same for all.
        binarize: ``none`` for values from 0 to 1, or how to make them 0 or 1: ``threshold`` at one
            half; ``static``, sampled once; ``dynamic``, sampled anew each time in training.
        fractions: the shares of train, validation and test, of those that have no folder.
        split_seed: decides which image belongs to which split.
        memory: the greatest size of a split, in MiB, up to which its images are held in memory.
        background: what is seen where an image is transparent, unless it has 4 channels.
        unreadable: what to do with files that are no images or are damaged: ``error``, or
            ``skip``, which reads every image once at the start.
        max_pixels: the number of pixels above which an image is refused before it is decoded.
        factors: a csv file of ground-truth factors, for scores of disentanglement: a column
            ``file``, such as ``cats/1.png``, relative to ``path``, and one for each factor. A
            relative path is looked up as that of the folder.
    """

    def __init__(
        self,
        *,
        path: DataPath,
        channels: Literal[1, 3, 4] = 3,
        size: Annotated[int, Ge(0)] = 0,
        binarize: Binarize = "none",
        fractions: Fractions = (0.8, 0.1, 0.1),
        split_seed: int = 0,
        memory: Annotated[int, Ge(0)] = 2048,
        background: Background = "white",
        unreadable: Unreadable = "error",
        max_pixels: Annotated[int, Gt(0)] = MAX_PIXELS,
        factors: DataPath | None = None,
    ) -> None:
        self.factors = factors
        self.path, self.channels, self.size, self.binarize = path, channels, size, binarize
        self.fractions, self.split_seed, self.memory = fractions, split_seed, memory
        self.unreadable, self.max_pixels = unreadable, max_pixels
        hint = SKIP_HINT if unreadable == "error" else REPLACE_HINT
        self.reader = ImageReader(channels, size, background, max_pixels, hint)

    @classmethod
    def propose(cls, path: Path) -> Proposal:
        """A spec for a folder of photos."""
        data = cls(path=str(path), unreadable="skip")
        files = [file for items in data._splits.values() for file, _ in items]
        return propose(path, sorted(files), data.sizes, len(data._folders.classes))

    def file_format(self, data: DataSpec, path: Path) -> Format | None:
        """Images in the size and with the channels and the background of this data set."""
        if not is_image_file(path):
            return None
        reader = replace(self.reader, hint=REPLACE_HINT)
        return ImageFormat(data, reader=reader, binarize=self.binarize)

    @cached_property
    def spec(self) -> DataSpec:
        """Described by the first image, which all others must match."""
        data = image_spec(self._like[0], self.binarize, self._folders.classes)
        return data if self._factors is None else replace(data, factors=self._factors.fields)

    @property
    def sizes(self) -> dict[str, int]:
        """The number of images of each split."""
        return {name: len(items) for name, items in self._splits.items()}

    @cached_property
    def left_out(self) -> Sequence[str]:
        """Other files, stray folders, further pages, and images that are skipped."""
        return (*self._folders.left_out, *self._readable[1], *self._further_pages())

    @cached_property
    def _root(self) -> Path:
        return find_data(self.path)

    @cached_property
    def _folders(self) -> ClassFolders:
        return read_class_folders(self._root, SUFFIXES, "image")

    @cached_property
    def _readable(self) -> tuple[Mapping[str, Sequence[Item]], tuple[str, ...]]:
        """The images of each folder of a split, and a phrase of those that are skipped.

        Raises:
            DataError: none of the images of a split can be read.
        """
        if self.unreadable == "error":
            return self._folders.items, ()
        items = self._folders.items
        files = {name: [file for file, _ in given] for name, given in items.items()}
        readable, skipped = read_each(
            files, self._check, self.unreadable, root=self._root, what="image"
        )
        return {
            name: [item for item in given if item[0] in readable[name]]
            for name, given in items.items()
        }, skipped

    def _check(self, file: Path) -> None:
        """Raises DataError if an image cannot be read."""
        self.reader.read(file)

    @cached_property
    def _splits(self) -> dict[str, list[Item]]:
        """The images of each split."""
        items, _ = self._readable
        return complete_splits(items, self.fractions, self.split_seed, str(self._root))

    @cached_property
    def _factors(self) -> Factors | None:
        """The factors of the images of all splits, in their order."""
        if self.factors is None:
            return None
        files = [file for name in SPLIT_NAMES for file, _ in self._splits[name]]
        names = [file.relative_to(self._root).as_posix() for file in files]
        return read_factor_file(find_data(self.factors), names)

    @property
    def notes(self) -> Sequence[str]:
        """Factors that are cut into bins."""
        return () if self._factors is None else self._factors.notes

    @cached_property
    def _like(self) -> tuple[Shape, str]:
        """The shape ``(C, H, W)`` of the first training image, and its file."""
        first = self._splits["train"][0][0]
        return self.reader.read(first).shape, str(first)

    def _further_pages(self) -> tuple[str, ...]:
        """A phrase on images with several pages, of the first files alone if there are many."""
        files = [file for items in self._splits.values() for file, _ in items]
        paged = [file for file in files if file.suffix.lower() in PAGED_SUFFIXES]
        counts = {file: count_pages(file, self.max_pixels) for file in paged[:_MAX_OPENED]}
        names = [
            f"{file.relative_to(self._root).as_posix()} has {pages}"
            for file, pages in counts.items()
            if pages > 1
        ]
        of = f" of the first {_MAX_OPENED:,} files" if len(paged) > _MAX_OPENED else ""
        return count_phrase(
            names,
            f"image{of} with pages after the first",
            f"images{of} with pages after the first",
        )

    def split(self, name: str) -> Split:
        """Returns one of the three splits."""
        files = [file.relative_to(self._root).as_posix() for file, _ in self._splits[name]]
        split = replace(self._images(name), names={"file": files})
        if self._factors is None:
            return split
        sizes = [self.sizes[each] for each in SPLIT_NAMES]
        values = self._factors.values.split(sizes)[SPLIT_NAMES.index(name)]
        return replace(split, factors=values)

    def _images(self, name: str) -> Split:
        files, train, seed = self._splits[name], name == "train", SPLIT_NAMES.index(name)
        if len(files) * int(np.prod(self._like[0])) > self.memory * 2**20:
            read = partial(_read_item, reader=self.reader, like=self._like)
            return lazy_split(files, read, self.binarize, train=train, seed=seed)
        x = np.stack([self.reader.read(file, self._like) for file, _ in files])
        labels = np.array([label for _, label in files]) if self._folders.classes else None
        return image_split(x, labels, self.binarize, train=train, seed=seed)


def _read_item(
    item: Item, reader: ImageReader, like: tuple[Shape, str]
) -> tuple[np.ndarray, int | None]:
    file, label = item
    return reader.read(file, like), label
