"""From stored uint8 images to model input: scaling and binarization, on the device and per batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vaezoo.data.dataset import Split
from vaezoo.data.dataspec import DataSpec, Shape
from vaezoo.utils.errors import DataError

Binarize: TypeAlias = Literal["none", "threshold", "dynamic", "static"]


def to_unit(x: Tensor) -> Tensor:
    """From uint8 0..255 to float 0..1."""
    return x.float().mul_(1 / 255)


def to_float(x: Tensor) -> Tensor:
    """From uint8 0 or 1 to float."""
    return x.float()


def above_half(x: Tensor) -> Tensor:
    """From uint8 0..255 to 0. or 1.: whether the value is at least 128."""
    return (x > 127).float()


def bernoulli_draw(x: Tensor) -> Tensor:
    """From uint8 0..255 to a fresh draw of 0. or 1., each with probability x / 255."""
    return (torch.rand(x.shape, device=x.device).mul_(255) < x).float()


def fixed_draw(x: np.ndarray, seed: int, skip: int = 0) -> np.ndarray:
    """One draw for everybody: uniform numbers from PCG64(seed), compared with x / 255.

    Args:
        x: uint8 images.
        seed: of numpy's generator.
        skip: how many images of the same size lie before these in the stream.
    """
    bits = np.random.PCG64(seed)
    draws, half = divmod(skip * int(np.prod(x.shape[1:])), 2)  # two float32 for each 64 bits
    bits.advance(draws)
    generator = np.random.Generator(bits)
    generator.random(half, dtype=np.float32)
    drawn = np.empty(x.shape, np.uint8)
    for start in range(0, len(x), 1000):  # all at once would take twelve times the memory of the images
        part = x[start : start + 1000]
        uniform = generator.random(part.shape, dtype=np.float32)
        drawn[start : start + 1000] = uniform < part.astype(np.float32) / 255
    return drawn


def image_spec(shape: Shape, binarize: Binarize, classes: tuple[str, ...]) -> DataSpec:
    """What image data looks like after ``image_split``."""
    condition_shape = () if classes else None
    if binarize == "none":
        return DataSpec(shape, "unit", 256, classes=classes, condition_shape=condition_shape)
    return DataSpec(shape, "binary", 2, classes=classes, condition_shape=condition_shape)


def image_split(
    x: np.ndarray, labels: np.ndarray | None, binarize: Binarize, *, train: bool, seed: int, skip: int = 0
) -> Split:
    """A split of uint8 images.

    Args:
        x: ``[n, C, H, W]``, uint8.
        labels: ``[n]``, or None.
        binarize: ``none``; ``threshold`` at one half; ``static``, one fixed draw; or ``dynamic``, a fresh draw each
            time a training image is seen, and the fixed draw everywhere else, so that evaluations agree.
        train: whether this is the training split.
        seed, skip: of the fixed draw.
    """
    condition = None if labels is None else torch.from_numpy(labels.astype(np.int64))
    stored = fixed_draw(x, seed, skip) if is_fixed(binarize, train) else np.array(x, order="C")
    return Split(torch.from_numpy(stored), condition, transform=transform_for(binarize, train))


def is_fixed(binarize: Binarize, train: bool) -> bool:
    """Whether images are stored as one draw: ``static`` ones, and ``dynamic`` ones outside the training split."""
    return binarize == "static" or (binarize == "dynamic" and not train)


def transform_for(binarize: Binarize, train: bool) -> Callable[[Tensor], Tensor]:
    """What turns stored images into model input."""
    if is_fixed(binarize, train):
        return to_float
    return {"none": to_unit, "threshold": above_half, "dynamic": bernoulli_draw}[binarize]


Read: TypeAlias = Callable[[Any], tuple[np.ndarray, int | None]]
"""From an item of ``lazy_split`` to uint8 ``[C, H, W]`` and its label."""


def lazy_split(items: Sequence[Any], read: Read, binarize: Binarize, *, train: bool, seed: int) -> Split:
    """The split that ``image_split`` would make of the same images, each of them read when it is needed.

    Args:
        items: what each image is read from, such as its file.
        read: reads one of them; it travels to worker processes.
        binarize, train, seed: as for ``image_split``.
    """
    images = _LazyImages(items, read, seed if is_fixed(binarize, train) else None)
    return Split(images, transform=transform_for(binarize, train))


class _LazyImages(torch.utils.data.Dataset[Any]):
    """Images read one by one, and binarized where there is a seed for the fixed draw."""

    def __init__(self, items: Sequence[Any], read: Read, seed: int | None) -> None:
        self.items, self.read, self.seed = items, read, seed

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[Tensor, int | None]:
        pixels, label = self.read(self.items[index])
        if self.seed is not None:
            pixels = fixed_draw(pixels[None], self.seed, index)[0]
        return torch.from_numpy(np.array(pixels, order="C")), label


def to_pixels(image: Image.Image, channels: int, size: int, shape: Shape | None, where: str) -> np.ndarray:
    """A decoded image as uint8 ``[C, H, W]``.

    Args:
        image: in any mode.
        channels: 1 for grey, 3 for colour.
        size: height and width to resize to; 0 keeps the image as it is.
        shape: what the image must have, where it is known.
        where: names the image in messages.

    Raises:
        DataError: the image has another shape.
    """
    image = image.convert("L" if channels == 1 else "RGB")
    if size:
        image = image.resize((size, size), Image.Resampling.BILINEAR)
    pixels = np.asarray(image)
    pixels = pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)
    if shape is not None and pixels.shape != shape:
        given = f"{pixels.shape[1]}x{pixels.shape[2]}"
        raise DataError(f"{where}: is {given}, the first image is {shape[1]}x{shape[2]}; set `size`")
    return pixels
