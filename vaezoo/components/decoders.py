"""Decoders of vectors and images: multilayer perceptrons and transposed convolutions.

Shapes: N codes, D dimensions of a code, C channels, H height, W width; H' and W' of the smallest
feature maps.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

from annotated_types import Ge
from torch import Tensor, nn

from vaezoo.components.encoders import Dropout, Widths
from vaezoo.components.sizes import strided_sizes
from vaezoo.data.dataspec import Shape
from vaezoo.model.parts import Decoder
from vaezoo.model.wiring import DecoderWiring
from vaezoo.nn import Activation, Norm, ResidualBlock, activation_layer, mlp, norm2d


def code_width(in_shape: Shape) -> int:
    """The number D of dimensions of a code that is a vector or a map, which is flattened.

    Raises:
        ValueError: the code is a sequence, whose length may vary.
    """
    if len(in_shape) == 2:
        raise ValueError(f"needs a code of one vector, but the latents give {in_shape}")
    return math.prod(in_shape)


class MLPDecoder(Decoder):
    """Fully connected layers, then a linear layer to the output of any shape.

    Args:
        hidden: the number of units of each layer.
        activation: the activation after each layer; ignored if ``gated``.
        gated: whether each layer is multiplied by the sigmoid of another one.
        norm: the normalization of each layer.
        dropout: the dropout probability during training.
    """

    def __init__(
        self,
        wiring: DecoderWiring,
        /,
        *,
        hidden: Widths = (400, 400),
        activation: Activation = "relu",
        gated: bool = False,
        norm: Norm = "none",
        dropout: Dropout = 0.0,
    ) -> None:
        super().__init__()
        width, out_shape = code_width(wiring.in_shape), wiring.out_shape
        self.net = mlp(
            width, hidden, activation_name=activation, gated=gated, norm=norm, dropout=dropout
        )
        self.out_shape = out_shape
        size = math.prod(out_shape)
        self.out = nn.Linear(hidden[-1], size)

    def forward(self, code: Tensor) -> Tensor:
        """From ``[N, *in_shape]`` to ``[N, *out_shape]``."""
        return self.out(self.net(code.flatten(1))).view(-1, *self.out_shape)  # [N, *out_shape]


class ConvDecoder(Decoder):
    """Transposed convolutions that double the image at each layer; mirrors the conv encoder.

    Args:
        channels: the number of feature maps of each layer, coarse to fine.
        block: ``plain``; or ``residual``, with a residual block before each convolution.
        kernel: the kernel size, 4 or 3, as in the encoder.
        activation: the activation after each layer.
        norm: the normalization of each layer.
        hidden: the number of units of an initial fully connected layer; 0 for none. Codes that
            are maps have none.
    """

    def __init__(
        self,
        wiring: DecoderWiring,
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
        in_shape, out_shape = wiring.in_shape, wiring.out_shape
        sizes = strided_sizes(out_shape, len(channels), kernel)[::-1]
        self.start = (channels[0], *sizes[0])
        self.project: nn.Module
        if len(in_shape) == 3:
            self.project = _project_map(in_shape, hidden, self.start, activation)
        else:
            self.project = _project(code_width(in_shape), hidden, self.start, activation)
        stages: list[nn.Module] = []
        for index, width in enumerate(channels):
            is_last = index == len(channels) - 1
            out = out_shape[0] if is_last else channels[index + 1]
            if block == "residual":
                stages.append(ResidualBlock(width, activation_name=activation, norm=norm))
            size, next_size = sizes[index], sizes[index + 1]
            stages.append(_upsample(width, out, kernel, size=size, next_size=next_size))
            if not is_last:
                stages.append(nn.Sequential(norm2d(out, norm), activation_layer(activation)))
        self.stages = nn.Sequential(*stages)

    def forward(self, code: Tensor) -> Tensor:
        """From vectors ``[N, D]`` or maps ``[N, D, H', W']`` to ``[N, C, H, W]``."""
        start = self.project(code).reshape(-1, *self.start)  # [N, C', H', W']
        return self.stages(start)


def _project(width: int, hidden: int, start: Shape, activation: Activation) -> nn.Module:
    """Fully connected layers from a code to the flattened first feature maps ``start``."""
    flat = start[0] * start[1] * start[2]
    layers: list[nn.Module] = []
    if hidden:
        layers = [nn.Linear(width, hidden), activation_layer(activation)]
    return nn.Sequential(*layers, nn.Linear(hidden or width, flat), activation_layer(activation))


def _project_map(in_shape: Shape, hidden: int, start: Shape, activation: Activation) -> nn.Module:
    """A convolution at each position of a code that is a map, to the feature maps ``start``.

    Raises:
        ValueError: the map has another size than the first feature maps, or there is a fully
            connected layer.
    """
    size, needed = f"{in_shape[1]}x{in_shape[2]}", f"{start[1]}x{start[2]}"
    if in_shape[1:] != start[1:]:
        raise ValueError(
            f"the code is a map of {size}, but the decoder starts at {needed}; "
            "use as many channels as the encoder"
        )
    if hidden:
        raise ValueError(f"hidden: {hidden} flattens the code, which is a map of {size}; use 0")
    return nn.Sequential(nn.Conv2d(in_shape[0], start[0], 1), activation_layer(activation))


def _upsample(
    width: int, out: int, kernel: int, *, size: tuple[int, int], next_size: tuple[int, int]
) -> nn.Module:
    """A transposed convolution from ``size`` to exactly ``next_size``, which may be odd."""
    height, width_padding = (
        large - (2 * (small - 1) + kernel - 2)
        for small, large in zip(size, next_size, strict=True)
    )
    return nn.ConvTranspose2d(
        width, out, kernel, stride=2, padding=1, output_padding=(height, width_padding)
    )
