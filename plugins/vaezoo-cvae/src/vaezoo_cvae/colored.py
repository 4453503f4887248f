"""Digits in colour: from a grey image and the colour asked for to the coloured image."""

from __future__ import annotations

import dataclasses
from typing import Literal

import torch
from torch import Tensor

import vaezoo

COLORS = {
    "red": (230, 60, 60),
    "orange": (245, 150, 40),
    "yellow": (240, 220, 60),
    "green": (70, 180, 80),
    "cyan": (70, 200, 210),
    "blue": (60, 90, 230),
    "purple": (150, 70, 200),
    "pink": (240, 130, 190),
    "brown": (150, 100, 60),
    "white": (255, 255, 255),
}


class ColoredMNIST(vaezoo.Dataset):
    """Grey images of another data set, each in one of ten colours on black, drawn once by a fixed seed.

    Args:
        of: the data set of grey images.
        condition: ``image``: the grey image and the colour asked for as three constant planes, for image to image; or
            ``attributes``: the class and the colour by name, for images on demand.
    """

    def __init__(
        self,
        *,
        of: vaezoo.Dataset = "mnist",  # type: ignore[assignment]
        condition: Literal["image", "attributes"] = "image",
    ) -> None:
        self.of, self.condition = of, condition
        if of.spec.shape[0] != 1 or len(of.spec.shape) != 3:
            raise vaezoo.DataError(f"colored-mnist needs grey images, but the data is {of.spec.shape}")
        if not of.spec.classes:
            raise vaezoo.DataError("colored-mnist needs images with classes")

    @property
    def spec(self) -> vaezoo.DataSpec:
        """Three channels; a condition of four planes, or of two named attributes."""
        size = self.of.spec.shape[1:]
        if self.condition == "image":
            return vaezoo.DataSpec((3, *size), "unit", condition_shape=(4, *size))
        attributes = (vaezoo.Attribute("digit", self.of.spec.classes), vaezoo.Attribute("color", tuple(COLORS)))
        return vaezoo.DataSpec((3, *size), "unit", condition_shape=(2,), attributes=attributes)

    def split(self, name: str) -> vaezoo.Split:
        """One of the splits, its images coloured."""
        split = self.of.split(name)
        assert split.condition is not None, "the data set has classes"
        generator = torch.Generator().manual_seed(("train", "validation", "test").index(name))
        colors = torch.randint(len(COLORS), (len(split),), generator=generator)
        attributes = torch.stack([split.condition, colors], 1).float()
        as_image = self.condition == "image"

        def derive(batch: vaezoo.Batch) -> vaezoo.Batch:
            assert batch.condition is not None
            planes = paint(batch.condition[:, 1]).expand(-1, -1, *batch.x.shape[2:])
            condition = torch.cat([batch.x, planes], 1) if as_image else batch.condition
            return vaezoo.Batch(batch.x * planes, condition)

        return dataclasses.replace(split, condition=attributes, derive=derive)


def paint(color: Tensor) -> Tensor:
    """From indices of colours ``[B]`` to red, green and blue in [0, 1], ``[B, 3, 1, 1]``."""
    table = torch.tensor(list(COLORS.values()), device=color.device, dtype=torch.float32) / 255
    return table[color.long()][:, :, None, None]
