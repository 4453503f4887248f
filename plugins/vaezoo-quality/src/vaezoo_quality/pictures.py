"""Draws samples above their nearest examples."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image
from torch import Tensor

_GAP = 2
_ROW_GAP = 6
_WIDTH = 900


def draw_neighbours(rows: Sequence[Tensor]) -> bytes:
    """A PNG with rows of images, each image below the one that it is the nearest to.

    Args:
        rows: images ``[n, C, H, W]`` with values from 0 to 1, of 1 or 3 channels.
    """
    strips = [_strip(row.clamp(0, 1).cpu().float().numpy()) for row in rows]
    gap = np.full((_ROW_GAP, *strips[0].shape[1:]), 255, np.uint8)
    sheet = np.concatenate([part for strip in strips for part in (strip, gap)][:-1])
    zoom = max(1, round(_WIDTH / sheet.shape[1]))
    image = Image.fromarray(sheet.repeat(zoom, 0).repeat(zoom, 1))
    buffer = io.BytesIO()
    image.save(buffer, "png")
    return buffer.getvalue()


def _strip(images: np.ndarray) -> np.ndarray:
    """Images ``[n, C, H, W]`` beside each other, uint8 ``[H, W', 3]``."""
    pixels = (images.transpose(0, 2, 3, 1) * 255).round().astype(np.uint8)  # [n, H, W, C]
    pixels = pixels.repeat(3 // pixels.shape[-1], -1)  # [n, H, W, 3]
    gap = np.full((pixels.shape[1], _GAP, 3), 255, np.uint8)
    return np.concatenate([part for image in pixels for part in (image, gap)][:-1], 1)
