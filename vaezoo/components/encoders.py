"""Encoders: data to features."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Lt, MinLen
from torch import Tensor, nn

from vaezoo.components.sizes import strided_sizes
from vaezoo.data.dataspec import Shape
from vaezoo.model.parts import Encoder
from vaezoo.nn import Activation, Norm, ResidualBlock, activation_layer, dense, masked, mlp, norm2d

Width = Annotated[int, Gt(0)]
Widths = Annotated[Sequence[Width], MinLen(1)]
Dropout = Annotated[float, Ge(0), Lt(1)]


class MLPEncoder(Encoder):
    """Fully connected layers over the flattened input.

    Args:
        hidden: the width of each layer.
        activation: what follows each layer; a gated layer has none.
        gated: multiply each layer by the sigmoid of another.
        norm: what normalises each layer.
        dropout: the share of units dropped while training.
    """

    takes_vectors = True

    def __init__(
        self,
        in_shape: Shape,
        /,
        *,
        hidden: Widths = (400, 400),
        activation: Activation = "relu",
        gated: bool = False,
        norm: Norm = "none",
        dropout: Dropout = 0.0,
    ) -> None:
        super().__init__()
        size = math.prod(in_shape)
        self.net = mlp(size, hidden, activation_name=activation, gated=gated, norm=norm, dropout=dropout)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, ...]:
        """From ``[B, *in_shape]`` to one feature ``[B, hidden[-1]]``."""
        return (self.net(masked(x, mask).flatten(1)),)


class ConvEncoder(Encoder):
    """Strided convolutions that halve the image once a layer, for any image size and channel count.

    Args:
        channels: the feature maps of each layer.
        block: ``plain``, or ``residual``: a residual block after each halving.
        kernel: 4 (padding 1) or 3 (padding 1); both halve, rounding down or up.
        activation: what follows each layer.
        norm: what normalises each layer.
        hidden: the width of a last fully connected layer; 0 for none.
    """

    def __init__(
        self,
        in_shape: Shape,
        /,
        *,
        channels: Widths = (32, 64),
        block: Literal["plain", "residual"] = "plain",
        kernel: Literal[3, 4] = 4,
        activation: Activation = "relu",
        norm: Norm = "none",
        hidden: Annotated[int, Ge(0)] = 0,
    ) -> None:
        super().__init__()
        self.stages = nn.ModuleList()
        sizes = strided_sizes(in_shape, len(channels), kernel)
        width = in_shape[0]
        for out in channels:
            self.stages.append(_stage(width, out, block, kernel, activation, norm))
            width = out
        flat = width * sizes[-1][0] * sizes[-1][1]
        self.head = dense(flat, hidden, activation) if hidden else None

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, ...]:
        """From ``[B, C, H, W]`` to the feature maps of each layer, and ``[B, hidden]`` where there is one."""
        features: list[Tensor] = []
        h = masked(x, mask)
        for stage in self.stages:
            h = stage(h)
            features.append(h)
        if self.head is not None:
            features.append(self.head(h.flatten(1)))
        return tuple(features)


def _stage(width: int, out: int, block: str, kernel: int, name: Activation, norm: Norm) -> nn.Module:
    layers: list[nn.Module] = [nn.Conv2d(width, out, kernel, stride=2, padding=1)]
    if block == "residual":
        layers.append(ResidualBlock(out, activation_name=name, norm=norm))
    return nn.Sequential(*layers, norm2d(out, norm), activation_layer(name))
