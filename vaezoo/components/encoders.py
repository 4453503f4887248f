"""Encoders of vectors and images: multilayer perceptrons and strided convolutions.

Shapes: B examples, C channels, H height, W width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Lt, MinLen
from torch import Tensor, nn

from vaezoo.components.sizes import strided_sizes
from vaezoo.model.parts import Encoder
from vaezoo.model.wiring import EncoderWiring
from vaezoo.nn import Activation, Norm, ResidualBlock, activation_layer, dense, masked, mlp, norm2d

Width = Annotated[int, Gt(0)]
Widths = Annotated[Sequence[Width], MinLen(1)]
Dropout = Annotated[float, Ge(0), Lt(1)]


class MLPEncoder(Encoder):
    """Fully connected layers on the flattened input.

    Args:
        hidden: the number of units of each layer.
        activation: the activation after each layer; ignored if ``gated``.
        gated: whether each layer is multiplied by the sigmoid of another one.
        norm: the normalization of each layer.
        dropout: the dropout probability during training.
    """

    takes_vectors = True

    def __init__(
        self,
        wiring: EncoderWiring,
        /,
        *,
        hidden: Widths = (400, 400),
        activation: Activation = "relu",
        gated: bool = False,
        norm: Norm = "none",
        dropout: Dropout = 0.0,
    ) -> None:
        super().__init__()
        size = math.prod(wiring.in_shape)
        self.net = mlp(
            size, hidden, activation_name=activation, gated=gated, norm=norm, dropout=dropout
        )

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, ...]:
        """From ``[B, *in_shape]`` to one feature ``[B, hidden[-1]]``."""
        return (self.net(masked(x, mask).flatten(1)),)  # input [B, prod(in_shape)]


class ConvEncoder(Encoder):
    """Strided convolutions that halve the image at each layer, for any image size and channels.

    Args:
        channels: the number of feature maps of each layer.
        block: ``plain``; or ``residual``, with a residual block after each convolution.
        kernel: the kernel size, with padding 1; odd sizes are rounded down by 4 and up by 3.
        activation: the activation after each layer.
        norm: the normalization of each layer.
        hidden: the number of units of a final fully connected layer; 0 for none.
    """

    def __init__(
        self,
        wiring: EncoderWiring,
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
        in_shape = wiring.in_shape
        self.stages = nn.ModuleList()
        sizes = strided_sizes(in_shape, len(channels), kernel)
        width = in_shape[0]
        for out in channels:
            stage = _stage(
                width, out, block=block, kernel=kernel, activation_name=activation, norm=norm
            )
            self.stages.append(stage)
            width = out
        flat = width * sizes[-1][0] * sizes[-1][1]
        self.head = dense(flat, hidden, activation) if hidden else None

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, ...]:
        """From ``[B, C, H, W]`` to the feature maps of each layer, then ``[B, hidden]`` if any."""
        features: list[Tensor] = []
        h = masked(x, mask)
        for stage in self.stages:
            h = stage(h)
            features.append(h)
        if self.head is not None:
            features.append(self.head(h.flatten(1)))  # input [B, C * H * W]
        return tuple(features)


def _stage(
    width: int, out: int, *, block: str, kernel: int, activation_name: Activation, norm: Norm
) -> nn.Module:
    """A convolution that halves the image, from ``width`` to ``out`` feature maps."""
    layers: list[nn.Module] = [nn.Conv2d(width, out, kernel, stride=2, padding=1)]
    if block == "residual":
        layers.append(ResidualBlock(out, activation_name=activation_name, norm=norm))
    return nn.Sequential(*layers, norm2d(out, norm), activation_layer(activation_name))
