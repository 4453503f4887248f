"""Images in folders."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from annotated_types import Ge, Gt
from PIL import Image
from torch import Tensor

from vaezoo.data.images import Binarize, bernoulli_draw, image_spec, image_split
from vaezoo.data.paths import find
from vaezoo.data.splits import NAMES, Fractions, indices
from vaezoo.errors import DataError
from vaezoo.interfaces import Dataset, DataSpec, Split

_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"})


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
        memory: Annotated[int, Gt(-1)] = 2048,
    ) -> None:
        self.path, self.channels, self.size, self.binarize = path, channels, size, binarize
        self.fractions, self.split_seed, self.memory = fractions, split_seed, memory

    @cached_property
    def spec(self) -> DataSpec:
        """From the first image."""
        return image_spec(self._shape, self.binarize, self._files[1])

    @cached_property
    def _shape(self) -> tuple[int, ...]:
        first = next(iter(self._files[0].values()))[0][0]
        return read_image(first, self.channels, self.size, None).shape

    @cached_property
    def _files(self) -> tuple[dict[str, list[tuple[Path, int | None]]], tuple[str, ...]]:
        """Files and labels by split, and the names of the classes."""
        root = find(self.path)
        if not root.is_dir():
            raise DataError(f"{root}: not a folder")
        folders = [root / name for name in NAMES]
        if all(folder.is_dir() for folder in folders):
            classes = _classes(folders[0])
            return {folder.name: _listed(folder, classes) for folder in folders}, classes
        classes = _classes(root)
        files = _listed(root, classes)
        parts = indices(len(files), self.fractions, self.split_seed, str(root))
        return {name: [files[i] for i in part] for name, part in parts.items()}, classes

    def split(self, name: str) -> Split:
        """One of the three splits."""
        files = self._files[0][name]
        if len(files) * int(np.prod(self._shape)) > self.memory * 2**20:
            if self.binarize == "static":
                raise DataError(f"{self.path}: binarize: static needs images in memory; raise `memory`")
            empty = image_split(np.zeros((0, *self._shape), np.uint8), None, self.binarize, train=True, seed=0)
            transform = bernoulli_draw if self.binarize == "dynamic" else empty.transform
            return Split(_Lazy(files, self.channels, self.size, self._shape), transform=transform)
        x = np.stack([read_image(file, self.channels, self.size, self._shape) for file, _ in files])
        labels = np.array([label for _, label in files]) if self._files[1] else None
        return image_split(x, labels, self.binarize, train=name == "train", seed=NAMES.index(name))


def read_image(file: Path, channels: int, size: int, shape: tuple[int, ...] | None) -> np.ndarray:
    """One image as uint8 ``[C, H, W]``.

    Raises:
        DataError: it cannot be read, or has another size than ``shape``; names the file.
    """
    try:
        with Image.open(file) as opened:
            image = opened.convert("L" if channels == 1 else "RGB")
            if size:
                image = image.resize((size, size), Image.Resampling.BILINEAR)
            pixels = np.asarray(image)
    except (OSError, ValueError, SyntaxError) as error:
        raise DataError(f"{file}: not a readable image: {error}") from error
    pixels = pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)
    if shape is not None and pixels.shape != shape:
        given = f"{pixels.shape[1]}x{pixels.shape[2]}"
        raise DataError(f"{file}: is {given}, the first image is {shape[1]}x{shape[2]}; set `size`")
    return pixels


def _classes(root: Path) -> tuple[str, ...]:
    return tuple(sorted(p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith(".")))


def _listed(root: Path, classes: tuple[str, ...]) -> list[tuple[Path, int | None]]:
    """Every image with its label, in a fixed order.

    Raises:
        DataError: there is no image, or a class without one.
    """
    found: list[tuple[Path, int | None]] = []
    for label, folder in [(i, root / name) for i, name in enumerate(classes)] or [(None, root)]:
        if not folder.is_dir():
            raise DataError(f"{folder}: missing, although other splits have this class")
        files = sorted(p for p in folder.iterdir() if p.suffix.lower() in _SUFFIXES and p.is_file())
        if not files:
            raise DataError(f"{folder}: no image in this folder")
        found += [(file, label) for file in files]
    return found


class _Lazy(torch.utils.data.Dataset[Any]):
    """Images read one by one."""

    def __init__(self, files: list[tuple[Path, int | None]], channels: int, size: int, shape: tuple[int, ...]) -> None:
        self.files, self.channels, self.size, self.shape = files, channels, size, shape

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, int | None]:
        file, label = self.files[index]
        pixels = read_image(file, self.channels, self.size, self.shape)
        return torch.from_numpy(np.ascontiguousarray(pixels)), label
