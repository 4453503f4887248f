"""Fuses a context with the input of an encoder or decoder, which needs no other change."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaezoo.data.dataspec import Shape

FusionMode: TypeAlias = Literal["concat", "film"]
_MIN_WIDTH = {True: 16, False: 64}  # for maps and vectors: FiLM needs enough channels to modulate


class ContextFusion(nn.Module):
    """Fuses a context with every vector, step or pixel of an input.

    ``concat`` appends the context as more features or channels. ``film`` scales and shifts the
    input by functions of the context (Perez et al. 2018), after a linear layer that widens narrow
    inputs. If both are feature maps, the context is resized and fused pixel by pixel. A context
    map for a vector input is flattened.

    Args:
        shape: the shape of one input: ``(D,)``, ``(T, D)`` or ``(C, H, W)``.
        context_shape: the shape of one context: ``(E,)`` or ``(E, H', W')``.
        mode: ``concat`` or ``film``.
    """

    def __init__(self, shape: Shape, context_shape: Shape, mode: FusionMode) -> None:
        super().__init__()
        self.shape, self.is_map = shape, len(shape) == 3
        self.pixelwise = self.is_map and len(context_shape) == 3
        self.size = shape[1:] if self.is_map else ()
        # the feature dimension, counted with the batch dimension: it grows
        self.dim = 1 if self.is_map else len(shape)
        channels = shape[self.dim - 1]
        context_channels = context_shape[0] if self.pixelwise else math.prod(context_shape)
        self.lift: nn.Module | None = None
        self.modulate: nn.Module | None = None
        width = channels + context_channels
        if mode == "film":
            width = max(channels, _MIN_WIDTH[self.is_map])
            if self.is_map:
                self.lift = nn.Conv2d(channels, width, 1)
                self.modulate = nn.Conv2d(context_channels, 2 * width, 1)
            else:
                self.lift = nn.Linear(channels, width)
                self.modulate = nn.Linear(context_channels, 2 * width)
        self.out_shape: Shape = (*shape[: self.dim - 1], width, *shape[self.dim :])

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Fuses a batch.

        Args:
            x: ``[B, *shape]``, or any shape that flattens to it if ``shape`` is a vector;
                sequences may have fewer steps than ``shape``.
            context: ``[B, *context_shape]``.

        Returns:
            ``[B, *out_shape]``.
        """
        x = x.flatten(1) if len(self.shape) == 1 else x  # [B, D]
        aligned = self._align(context).to(x.dtype)
        if self.lift is None or self.modulate is None:
            # the context is expanded to [B, E], [B, T, E] or [B, E, H, W]
            repeated = aligned.expand(*x.shape[: self.dim], -1, *x.shape[self.dim + 1 :])
            return torch.cat([x, repeated], self.dim)
        scale, shift = self.modulate(aligned).chunk(2, self.dim)
        return self.lift(x) * (1 + scale) + shift

    def _align(self, context: Tensor) -> Tensor:
        """The context with as many dimensions as the input; repeated dimensions have size 1."""
        if self.pixelwise:
            if tuple(context.shape[2:]) == self.size:
                return context
            return F.interpolate(context, self.size, mode="bilinear", align_corners=False)
        flat = context.flatten(1)  # [B, E]
        if self.is_map:
            return flat[:, :, None, None]  # [B, E, 1, 1]
        return flat.reshape(flat.shape[0], *(1,) * (self.dim - 1), -1)  # [B, E] or [B, 1, E]

    def fused_mask(self, mask: Tensor | None) -> Tensor | None:
        """The mask for the fused input.

        None if the mask covers the feature dimension, whose size changes: the hidden elements must
        then be set to 0 before the fusion.
        """
        return None if mask is None or mask.dim() > self.dim else mask
