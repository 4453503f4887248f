"""Residual networks on a coarse grid of patches, which are fast on CPUs.

A coarse grid has few positions, so most of the work is matrix products over channels. Shapes: B
examples, N codes, D dimensions of a code, C channels, H and W height and width of an image, H' and
W' of the grid.
"""

from __future__ import annotations

from torch import Tensor, channels_last, nn

from vaezoo.components.decoders import code_width
from vaezoo.components.encoders import Dropout, Width
from vaezoo.data.dataspec import Shape
from vaezoo.model.parts import Decoder, Encoder
from vaezoo.model.wiring import DecoderWiring, EncoderWiring
from vaezoo.nn import Activation, Norm, ResidualBlock, activation_layer, dense, masked


def _grid_size(shape: Shape, patch: int) -> tuple[int, int]:
    """The numbers H' and W' of rows and columns of patches.

    Raises:
        ValueError: the shape is not that of an image, or patches do not tile it.
    """
    if len(shape) != 3:
        raise ValueError(
            f"patch needs images (channels, height, width), but the data is {shape}; use mlp"
        )
    if shape[1] % patch or shape[2] % patch:
        raise ValueError(
            f"patches of {patch} do not tile an image of {shape[1]}x{shape[2]}; choose a divisor"
        )
    return shape[1] // patch, shape[2] // patch


def _blocks(
    channels: int, count: int, *, activation: Activation, norm: Norm, dropout: float
) -> list[nn.Module]:
    return [
        ResidualBlock(channels, activation_name=activation, norm=norm, dropout=dropout)
        for _ in range(count)
    ]


class PatchEncoder(Encoder):
    """Embeds patches of the image, then residual blocks on their grid and a fully connected layer.

    Args:
        patch: the height and width of a patch; must divide those of the image.
        channels: the number of feature maps.
        blocks: the number of residual blocks.
        hidden: the number of units of the last layer.
        activation: the activation after each layer.
        norm: the normalization of each layer.
        dropout: the dropout probability in each residual block during training.
    """

    def __init__(
        self,
        wiring: EncoderWiring,
        /,
        *,
        patch: Width = 4,
        channels: Width = 32,
        blocks: Width = 2,
        hidden: Width = 256,
        activation: Activation = "relu",
        norm: Norm = "none",
        dropout: Dropout = 0.0,
    ) -> None:
        super().__init__()
        in_shape = wiring.in_shape
        rows, columns = _grid_size(in_shape, patch)
        self.grid = nn.Sequential(
            nn.Conv2d(in_shape[0], channels, patch, stride=patch),
            *_blocks(channels, blocks, activation=activation, norm=norm, dropout=dropout),
        )
        self.head = dense(channels * rows * columns, hidden, activation)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, ...]:
        """From ``[B, C, H, W]`` to the grid ``[B, channels, H', W']`` and ``[B, hidden]``."""
        grid = self.grid(masked(x, mask))
        return grid, self.head(grid.flatten(1))  # input [B, channels * H' * W']


class PatchDecoder(Decoder):
    """Fully connected layers to a grid, residual blocks on it, then the pixels of each patch.

    Args:
        patch: the height and width of a patch; must divide those of the image.
        channels: the number of feature maps.
        blocks: the number of residual blocks.
        hidden: the number of units of the first layer.
        activation: the activation after each layer.
        norm: the normalization of each layer.
        dropout: the dropout probability in each residual block during training.
    """

    def __init__(
        self,
        wiring: DecoderWiring,
        /,
        *,
        patch: Width = 4,
        channels: Width = 32,
        blocks: Width = 2,
        hidden: Width = 256,
        activation: Activation = "relu",
        norm: Norm = "none",
        dropout: Dropout = 0.0,
    ) -> None:
        super().__init__()
        in_shape, out_shape = wiring.in_shape, wiring.out_shape
        self.start = (channels, *_grid_size(out_shape, patch))
        flat = channels * self.start[1] * self.start[2]
        self.project = nn.Sequential(
            dense(code_width(in_shape), hidden, activation), dense(hidden, flat, activation)
        )
        self.grid = nn.Sequential(
            *_blocks(channels, blocks, activation=activation, norm=norm, dropout=dropout),
            activation_layer(activation),
        )
        self.pixels = nn.Sequential(
            nn.Conv2d(channels, out_shape[0] * patch * patch, 1), nn.PixelShuffle(patch)
        )

    def forward(self, code: Tensor) -> Tensor:
        """From ``[N, *in_shape]`` to ``[N, C, H, W]``."""
        start = self.project(code.flatten(1)).unflatten(-1, self.start)  # [N, channels, H', W']
        return self.pixels(self.grid(start.contiguous(memory_format=channels_last)))
