"""Quadrant completion: some quadrants of an image are observed, and the others are modelled."""

from __future__ import annotations

import dataclasses
from typing import Literal

import torch
from torch import Tensor

import vaezoo
from vaezoo_cvae.derived import DerivedDataset

_ORDER = ((1, 0), (0, 0), (0, 1))
"""Row and column of observed quadrants: bottom left, top left, top right (Sohn et al. 2015)."""


class Quadrants(DerivedDataset):
    """Images of another data set, with 1, 2 or 3 observed quadrants as the condition.

    The mask hides the observed quadrants from encoder and likelihood, so that metrics count the
    unobserved pixels only. The condition has the observed pixels, and a channel that marks them.

    Args:
        source: the data set of images.
        observed_quadrants: how many, in the order bottom left, top left, top right.
    """

    def __init__(
        self,
        *,
        source: vaezoo.Dataset = "mnist",  # type: ignore[assignment]
        observed_quadrants: Literal[1, 2, 3] = 1,
    ) -> None:
        self.source, self.observed_quadrants = source, observed_quadrants
        if len(source.spec.shape) != 3:
            raise vaezoo.DataError(f"quadrants needs images, but the data is {source.spec.shape}")

    @property
    def spec(self) -> vaezoo.DataSpec:
        """The images, with a mask over their pixels and a condition of the same size."""
        channels, *size = self.source.spec.shape
        return dataclasses.replace(
            self.source.spec,
            mask_dims=3,
            classes=(),
            condition_shape=(channels + 1, *size),
            facts={**self.source.spec.facts, "vaezoo-cvae": {"inpainting": True}},
        )

    def split(self, name: str) -> vaezoo.Split:
        """One of the splits of the underlying data set, without its labels."""
        observed_pixels = self.observed_pixels()

        def add_condition(batch: vaezoo.Batch) -> vaezoo.Batch:
            observed = observed_pixels.to(batch.x.device)
            plane = observed.expand(len(batch), 1, *observed.shape[1:]).float()  # [B, 1, H, W]
            condition = torch.cat([batch.x * observed, plane], 1)
            mask = (~observed).expand_as(batch.x)  # [B, C, H, W]
            return dataclasses.replace(batch, condition=condition, mask=mask)

        split = self.source.split(name)
        return dataclasses.replace(split, condition=None, batch_transform=add_condition)

    def observed_pixels(self) -> Tensor:
        """The mask of the observed pixels, bool ``[1, H, W]``."""
        _, height, width = self.source.spec.shape
        observed = torch.zeros(1, height, width, dtype=torch.bool)
        for row, column in _ORDER[: self.observed_quadrants]:
            rows = slice(row * (height // 2), height if row else height // 2)
            columns = slice(column * (width // 2), width if column else width // 2)
            observed[:, rows, columns] = True
        return observed
