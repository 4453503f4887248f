"""How a context reaches an encoder or a decoder that knows nothing of it."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaezoo.data.dataspec import Shape

How: TypeAlias = Literal["concat", "film"]
_LEAST_WIDTH = {True: 16, False: 64}  # of maps, and of vectors: too few channels leave FiLM nothing to modulate


class Fusion(nn.Module):
    """Joins a context to every vector, step or pixel of an input.

    ``concat`` puts it beside: more columns, or more channels. ``film`` scales and shifts by it (Perez et al. 2018),
    after a linear layer that widens narrow inputs. A feature map in a feature map is resized and joined pixel by pixel;
    in a vector it is flattened.

    Args:
        shape: of one input: ``(D,)``, ``(T, D)`` or ``(C, H, W)``.
        context_shape: of one context: ``(E,)`` or ``(E, H', W')``.
        how: ``concat`` or ``film``.
    """

    def __init__(self, shape: Shape, context_shape: Shape, how: How) -> None:
        super().__init__()
        self.shape, self.is_map = shape, len(shape) == 3
        self.pixelwise = self.is_map and len(context_shape) == 3
        self.size = shape[1:] if self.is_map else ()
        self.dim = 1 if self.is_map else len(shape)  # the dimension that grows, counted with the batch
        channels = shape[self.dim - 1]
        added = context_shape[0] if self.pixelwise else math.prod(context_shape)
        self.lift: nn.Module | None = None
        self.modulate: nn.Module | None = None
        width = channels + added
        if how == "film":
            width = max(channels, _LEAST_WIDTH[self.is_map])
            self.lift = nn.Conv2d(channels, width, 1) if self.is_map else nn.Linear(channels, width)
            self.modulate = nn.Conv2d(added, 2 * width, 1) if self.is_map else nn.Linear(added, 2 * width)
        self.out_shape: Shape = (*shape[: self.dim - 1], width, *shape[self.dim :])

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """From ``[B, ...]``, flattened where ``shape`` is, and ``[B, *context_shape]`` to ``[B, *out_shape]``."""
        x = x.flatten(1) if len(self.shape) == 1 else x  # a sequence may have fewer steps than ``shape`` says
        beside = self._fitted(context).to(x.dtype)
        if self.lift is None or self.modulate is None:
            return torch.cat([x, beside.expand(*x.shape[: self.dim], -1, *x.shape[self.dim + 1 :])], self.dim)
        scale, shift = self.modulate(beside).chunk(2, self.dim)
        return self.lift(x) * (1 + scale) + shift

    def _fitted(self, context: Tensor) -> Tensor:
        """The context with as many dimensions as the input, those that it is repeated over of size 1."""
        if self.pixelwise:
            same = tuple(context.shape[2:]) == self.size
            return context if same else F.interpolate(context, self.size, mode="bilinear", align_corners=False)
        flat = context.flatten(1)
        return flat[:, :, None, None] if self.is_map else flat.reshape(flat.shape[0], *(1,) * (self.dim - 1), -1)

    def visible(self, mask: Tensor | None) -> Tensor | None:
        """The mask of the joined input: none where it would reach the dimension that grew, hidden parts being 0."""
        return None if mask is None or mask.dim() > self.dim else mask
