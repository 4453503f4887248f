"""Decoders: code to likelihood parameters."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from annotated_types import Ge
from torch import Tensor, nn

from vaezoo.components.encoders import Dropout, Widths
from vaezoo.components.sizes import strided_sizes
from vaezoo.data.dataspec import Shape
from vaezoo.model.parts import Decoder
from vaezoo.nn import Activation, Norm, ResidualBlock, activation_layer, mlp, norm2d


def code_width(in_shape: Shape) -> int:
    """The length of a code that is one vector; a ValueError where it is not."""
    if len(in_shape) != 1:
        raise ValueError(f"needs a code of one vector, but the latents give {in_shape}")
    return in_shape[0]


class MLPDecoder(Decoder):
    """Fully connected layers, then a linear one to any output shape.

    Args:
        hidden: the width of each layer.
        activation: what follows each layer; a gated layer has none.
        gated: multiply each layer by the sigmoid of another.
        norm: what normalises each layer.
        dropout: the share of units dropped while training.
    """

    def __init__(
        self,
        in_shape: Shape,
        out_shape: Shape,
        /,
        *,
        hidden: Widths = (400, 400),
        activation: Activation = "relu",
        gated: bool = False,
        norm: Norm = "none",
        dropout: Dropout = 0.0,
    ) -> None:
        super().__init__()
        width = code_width(in_shape)
        self.net = mlp(width, hidden, activation_name=activation, gated=gated, norm=norm, dropout=dropout)
        self.out_shape = out_shape
        size = math.prod(out_shape)
        self.out = nn.Linear(hidden[-1], size)

    def forward(self, code: Tensor) -> Tensor:
        """From ``[N, D]`` to ``[N, *out_shape]``."""
        return self.out(self.net(code)).view(-1, *self.out_shape)


class ConvDecoder(Decoder):
    """Transposed convolutions that double the image once a layer: the conv encoder's mirror.

    Args:
        channels: the feature maps of each layer, coarse to fine.
        block: ``plain``, or ``residual``: a residual block before each doubling.
        kernel: 4 or 3, as in the encoder.
        activation: what follows each layer.
        norm: what normalises each layer.
        hidden: the width of a first fully connected layer; 0 for none.
    """

    def __init__(
        self,
        in_shape: Shape,
        out_shape: Shape,
        /,
        *,
        channels: Widths = (64, 32),
        block: Literal["plain", "residual"] = "plain",
        kernel: Literal[3, 4] = 4,
        activation: Activation = "relu",
        norm: Norm = "none",
        hidden: Annotated[int, Ge(0)] = 0,
    ) -> None:
        super().__init__()
        sizes = strided_sizes(out_shape, len(channels), kernel)[::-1]
        self.start = (channels[0], *sizes[0])
        self.project = _project(code_width(in_shape), hidden, self.start, activation)
        stages: list[nn.Module] = []
        for index, width in enumerate(channels):
            last = index == len(channels) - 1
            out = out_shape[0] if last else channels[index + 1]
            if block == "residual":
                stages.append(ResidualBlock(width, activation_name=activation, norm=norm))
            stages.append(_double(width, out, kernel, sizes[index], sizes[index + 1]))
            if not last:
                stages.append(_after(out, norm, activation))
        self.stages = nn.Sequential(*stages)

    def forward(self, code: Tensor) -> Tensor:
        """From ``[N, D]`` to ``[N, C, H, W]``."""
        return self.stages(self.project(code).unflatten(-1, self.start))


def _project(width: int, hidden: int, start: Shape, name: Activation) -> nn.Module:
    flat = start[0] * start[1] * start[2]
    layers: list[nn.Module] = [nn.Linear(width, hidden), activation_layer(name)] if hidden else []
    return nn.Sequential(*layers, nn.Linear(hidden or width, flat), activation_layer(name))


def _double(width: int, out: int, kernel: int, small: tuple[int, int], large: tuple[int, int]) -> nn.Module:
    """A transposed convolution whose output has exactly the larger size, odd sizes included."""
    extra = tuple(big - (2 * (little - 1) + kernel - 2) for little, big in zip(small, large, strict=True))
    return nn.ConvTranspose2d(width, out, kernel, stride=2, padding=1, output_padding=(extra[0], extra[1]))


def _after(channels: int, norm: Norm, name: Activation) -> nn.Module:
    return nn.Sequential(norm2d(channels, norm), activation_layer(name))
