"""Converts stored uint8 images to model input by scaling or binarization.

Shapes: n images of C channels, H rows and W columns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from vaezoo.data.dataset import Split
from vaezoo.data.dataspec import DataSpec, Shape

Binarize: TypeAlias = Literal["none", "threshold", "dynamic", "static"]
"""How images become binary; see ``image_split``."""


def to_unit_interval(x: Tensor) -> Tensor:
    """Converts uint8 values 0..255 to floats 0..1."""
    return x.float().mul_(1 / 255)


def to_float(x: Tensor) -> Tensor:
    """Converts uint8 values 0 and 1 to floats."""
    return x.float()


def binarize_threshold(x: Tensor) -> Tensor:
    """Converts uint8 values 0..255 to floats: 1 if the value is at least 128, otherwise 0."""
    return (x > 127).float()


def binarize_dynamic(x: Tensor) -> Tensor:
    """Samples 0. or 1. for each uint8 value, with probability x / 255 of 1, in every call anew."""
    return (torch.rand(x.shape, device=x.device).mul_(255) < x).float()


def binarize_static(x: np.ndarray, seed: int, skip: int = 0) -> np.ndarray:
    """Samples 0 or 1 for each uint8 value, with the probability x / 255 of 1, once and for all.

    The samples depend only on the images, the seed and ``skip``: uniform float32 numbers of
    numpy's generator PCG64(seed) are compared with x / 255.

    Args:
        x: uint8 images, ``[n, ...]``.
        seed: the seed of the generator.
        skip: the number of images of the same size that precede ``x`` in the random stream, so
            that a part of a data set gets the same samples as in the full data set.

    Returns:
        uint8, of the shape of ``x``.
    """
    bits = np.random.PCG64(seed)
    words, half = divmod(skip * int(np.prod(x.shape[1:])), 2)  # two float32 for each 64 bits
    bits.advance(words)
    generator = np.random.Generator(bits)
    generator.random(half, dtype=np.float32)
    samples = np.empty(x.shape, np.uint8)
    for start in range(0, len(x), 1000):  # all at once would need twelve times the images' memory
        chunk = x[start : start + 1000]
        uniform = generator.random(chunk.shape, dtype=np.float32)
        samples[start : start + 1000] = uniform < chunk.astype(np.float32) / 255
    return samples


def image_spec(shape: Shape, binarize: Binarize, classes: tuple[str, ...]) -> DataSpec:
    """Describes the images of an ``image_split``.

    Args:
        shape: ``(C, H, W)``.
        binarize: as for ``image_split``.
        classes: the names of the classes; empty if the images have no labels.
    """
    is_grey = binarize == "none"
    return DataSpec(
        shape,
        "unit" if is_grey else "binary",
        256 if is_grey else 2,
        pixels=True,
        classes=classes,
        condition_shape=() if classes else None,
    )


def image_split(
    x: np.ndarray,
    labels: np.ndarray | None,
    binarize: Binarize,
    *,
    train: bool,
    seed: int,
    skip: int = 0,
) -> Split:
    """Builds a split from uint8 images in memory.

    Args:
        x: ``[n, C, H, W]``, uint8.
        labels: ``[n]``, or None.
        binarize: ``none`` scales to 0..1. ``threshold`` binarizes at one half. ``static`` samples
            each pixel once, with its value as the probability of 1. ``dynamic`` samples training
            images anew each time they are used, and uses static samples for the other splits, so
            that evaluations agree.
        train: whether this is the training split.
        seed, skip: of the static samples, as for ``binarize_static``.
    """
    condition = None if labels is None else torch.from_numpy(labels.astype(np.int64))
    static = is_static(binarize, train)
    stored = binarize_static(x, seed, skip) if static else np.array(x, order="C")
    return Split(torch.from_numpy(stored), condition, transform=image_transform(binarize, train))


def is_static(binarize: Binarize, train: bool) -> bool:
    """Whether a split stores static samples: with ``dynamic``, only validation and test."""
    return binarize == "static" or (binarize == "dynamic" and not train)


def image_transform(binarize: Binarize, train: bool) -> Callable[[Tensor], Tensor]:
    """Returns the function that converts stored images to model input."""
    if is_static(binarize, train):
        return to_float
    transforms = {
        "none": to_unit_interval,
        "threshold": binarize_threshold,
        "dynamic": binarize_dynamic,
    }
    return transforms[binarize]


ReadImage: TypeAlias = Callable[[Any], tuple[np.ndarray, int | None]]
"""Reads an item of ``lazy_split``: returns uint8 ``[C, H, W]`` and the label, or None."""


def lazy_split(
    items: Sequence[Any], read: ReadImage, binarize: Binarize, *, train: bool, seed: int
) -> Split:
    """Builds a split whose images are read when they are needed.

    Its batches equal those of ``image_split`` for the same images.

    Args:
        items: the source of each image, such as its file.
        read: reads one item; must be picklable for worker processes.
        binarize, train, seed: as for ``image_split``.
    """
    images = _LazyImages(items, read, seed if is_static(binarize, train) else None)
    return Split(images, transform=image_transform(binarize, train))


class _LazyImages(torch.utils.data.Dataset[Any]):
    """A map-style data set that reads images one by one.

    Args:
        items, read: as for ``lazy_split``.
        seed: the seed of static binarization; None to return grey values.
    """

    def __init__(self, items: Sequence[Any], read: ReadImage, seed: int | None) -> None:
        self.items, self.read, self.seed = items, read, seed

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[Tensor, int | None]:
        pixels, label = self.read(self.items[index])
        if self.seed is not None:
            pixels = binarize_static(pixels[None], self.seed, index)[0]
        return torch.from_numpy(np.array(pixels, order="C")), label
