"""Coloured digits, conditional on a grey image and a colour, or on a digit and a colour."""

from __future__ import annotations

import dataclasses
from typing import Literal

import torch
from torch import Tensor

import vaezoo
from vaezoo_cvae.derived import DerivedDataset

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


class ColoredMNIST(DerivedDataset):
    """Grey images of another data set, coloured on black in one of ten colours.

    The colour of each image is drawn once, with a fixed seed.

    Args:
        source: the data set of grey images.
        condition: ``image``: the grey image and the colour as three constant planes, for image to
            image; or ``attributes``: the class and the colour by name, for samples by attribute.
    """

    def __init__(
        self,
        *,
        source: vaezoo.Dataset = "mnist",  # type: ignore[assignment]
        condition: Literal["image", "attributes"] = "image",
    ) -> None:
        self.source, self.condition = source, condition
        if source.spec.shape[0] != 1 or len(source.spec.shape) != 3:
            shape = source.spec.shape
            raise vaezoo.DataError(f"colored-mnist needs grey images, but the data is {shape}")
        if not source.spec.classes:
            raise vaezoo.DataError("colored-mnist needs images with classes")

    @property
    def spec(self) -> vaezoo.DataSpec:
        """Three channels; the condition is four planes, or two named attributes."""
        size = self.source.spec.shape[1:]
        if self.condition == "image":
            return vaezoo.DataSpec((3, *size), "unit", pixels=True, condition_shape=(4, *size))
        attributes = (
            vaezoo.Field("digit", "categorical", (0, 1), categories=self.source.spec.classes),
            vaezoo.Field("color", "categorical", (1, 2), categories=tuple(COLORS)),
        )
        return vaezoo.DataSpec(
            (3, *size), "unit", pixels=True, condition_shape=(2,), condition_fields=attributes
        )

    def split(self, name: str) -> vaezoo.Split:
        """One of the splits, with coloured images.

        Raises:
            vaezoo.DataError: the data set reads its images one by one.
        """
        split = self.source.split(name)
        if split.condition is None:
            raise vaezoo.DataError("colored-mnist needs images in memory; raise `source.memory`")
        generator = torch.Generator().manual_seed(("train", "validation", "test").index(name))
        colors = torch.randint(len(COLORS), (len(split),), generator=generator)
        attributes = torch.stack([split.condition, colors], 1).float()
        as_image = self.condition == "image"

        def color_batch(batch: vaezoo.Batch) -> vaezoo.Batch:
            assert batch.condition is not None
            rgb = to_rgb(batch.condition[:, 1])
            planes = rgb.expand(-1, -1, *batch.x.shape[2:])  # [B, 3, H, W]
            condition = torch.cat([batch.x, planes], 1) if as_image else batch.condition
            return dataclasses.replace(batch, x=batch.x * planes, condition=condition)

        return dataclasses.replace(split, condition=attributes, batch_transform=color_batch)


def to_rgb(color: Tensor) -> Tensor:
    """From indices of colours ``[B]`` to red, green and blue in [0, 1], ``[B, 3, 1, 1]``."""
    table = torch.tensor(list(COLORS.values()), device=color.device, dtype=torch.float32) / 255
    return table[color.long()][:, :, None, None]
