"""Quadrant completion: some quadrants of an image are given, the others are what the model must say."""

from __future__ import annotations

import dataclasses
from typing import Literal

import torch
from torch import Tensor

import vaezoo

_ORDER = ((1, 0), (0, 0), (0, 1))
"""Row and column of the quadrants in the order given: bottom left, top left, top right (Sohn et al. 2015)."""


class Quadrants(vaezoo.Dataset):
    """Images of another data set with 1, 2 or 3 quadrants given: the condition; the rest is what is modelled.

    The mask hides the given quadrants from encoder and likelihood, so that figures count the unseen pixels alone. The
    condition has two channels: the given pixels, and where they are.

    Args:
        source: the data set of images.
        observed_quadrants: how many: bottom left, then also top left, then also top right.
    """

    def __init__(self, *, source: vaezoo.Dataset = "mnist", observed_quadrants: Literal[1, 2, 3] = 1) -> None:  # type: ignore[assignment]
        self.source, self.observed_quadrants = source, observed_quadrants
        if len(source.spec.shape) != 3:
            raise vaezoo.DataError(f"quadrants needs images, but the data is {source.spec.shape}")

    @property
    def spec(self) -> vaezoo.DataSpec:
        """The images, with a mask over their pixels and a condition of the same size."""
        shape = self.source.spec.shape
        condition = (shape[0] + 1, *shape[1:])
        return dataclasses.replace(
            self.source.spec, mask_dims=3, classes=(), condition_shape=condition, inpainting=True
        )

    def split(self, name: str) -> vaezoo.Split:
        """One of the splits of the underlying data set; its labels are dropped."""
        given = self.where()

        def derive(batch: vaezoo.Batch) -> vaezoo.Batch:
            seen = given.to(batch.x.device)
            plane = seen.expand(len(batch), 1, *seen.shape[1:]).float()
            unseen = (~seen).expand_as(batch.x)
            return vaezoo.Batch(batch.x, torch.cat([batch.x * seen, plane], 1), unseen)

        return dataclasses.replace(self.source.split(name), condition=None, batch_transform=derive)

    def where(self) -> Tensor:
        """True where pixels are given, ``[1, H, W]``."""
        _, height, width = self.source.spec.shape
        seen = torch.zeros(1, height, width, dtype=torch.bool)
        for row, column in _ORDER[: self.observed_quadrants]:
            rows = slice(row * (height // 2), height if row else height // 2)
            columns = slice(column * (width // 2), width if column else width // 2)
            seen[:, rows, columns] = True
        return seen
