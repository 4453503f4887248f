"""From stored uint8 images to model input: scaling and binarization, on the device and per batch."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from vaezoo.interfaces import DataSpec, Shape, Split

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
    bits.advance(skip * (x[0].size if len(x) else 0) // 2)  # two float32 for each 64 bits
    uniform = np.random.Generator(bits).random(x.shape, dtype=np.float32)
    return (uniform < x.astype(np.float32) / 255).astype(np.uint8)


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
    fixed = binarize == "static" or (binarize == "dynamic" and not train)
    stored = torch.from_numpy(fixed_draw(x, seed, skip) if fixed else np.array(x))
    if fixed:
        return Split(stored, condition, transform=to_float)
    transform = {"none": to_unit, "threshold": above_half, "dynamic": bernoulli_draw}[binarize]
    return Split(stored, condition, transform=transform)
