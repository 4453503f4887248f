"""Residual networks on a coarse grid of patches: few positions, so that a CPU spends its time on channels."""

from __future__ import annotations

from torch import Tensor, channels_last, nn

from vaezoo.components.decoders import code_width
from vaezoo.components.encoders import Width
from vaezoo.data.dataspec import Shape
from vaezoo.model.parts import Decoder, Encoder
from vaezoo.nn import Activation, Norm, ResidualBlock, activation_layer, dense, masked


def _positions(shape: Shape, patch: int) -> tuple[int, int]:
    """Patches down and across.

    Raises:
        ValueError: the shape is not an image's, or patches do not tile it.
    """
    if len(shape) != 3:
        raise ValueError(f"patch needs images (channels, height, width), but the data is {shape}; use mlp")
    if shape[1] % patch or shape[2] % patch:
        raise ValueError(f"patches of {patch} do not tile an image of {shape[1]}x{shape[2]}; choose a divisor")
    return shape[1] // patch, shape[2] // patch


def _blocks(channels: int, count: int, name: Activation, norm: Norm) -> list[nn.Module]:
    return [ResidualBlock(channels, activation_name=name, norm=norm) for _ in range(count)]


class PatchEncoder(Encoder):
    """Cuts the image into patches, then residual blocks over their grid and a fully connected layer.

    Args:
        patch: height and width of a patch; must divide the image.
        channels: the feature maps.
        blocks: how many residual blocks.
        hidden: the width of the last layer.
        activation: what follows each layer.
        norm: what normalises each layer.
    """

    def __init__(
        self,
        in_shape: Shape,
        /,
        *,
        patch: Width = 4,
        channels: Width = 32,
        blocks: Width = 2,
        hidden: Width = 256,
        activation: Activation = "relu",
        norm: Norm = "none",
    ) -> None:
        super().__init__()
        down, across = _positions(in_shape, patch)
        self.grid = nn.Sequential(
            nn.Conv2d(in_shape[0], channels, patch, stride=patch), *_blocks(channels, blocks, activation, norm)
        )
        self.head = dense(channels * down * across, hidden, activation)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, ...]:
        """From ``[B, C, H, W]`` to the grid ``[B, channels, H', W']`` and ``[B, hidden]``."""
        grid = self.grid(masked(x, mask))
        return grid, self.head(grid.flatten(1))


class PatchDecoder(Decoder):
    """Two fully connected layers to a grid of patches, residual blocks over it, then each position's pixels.

    Args:
        patch: height and width of a patch; must divide the image.
        channels: the feature maps.
        blocks: how many residual blocks.
        hidden: the width of the first layer.
        activation: what follows each layer.
        norm: what normalises each layer.
    """

    def __init__(
        self,
        in_shape: Shape,
        out_shape: Shape,
        /,
        *,
        patch: Width = 4,
        channels: Width = 32,
        blocks: Width = 2,
        hidden: Width = 256,
        activation: Activation = "relu",
        norm: Norm = "none",
    ) -> None:
        super().__init__()
        self.start = (channels, *_positions(out_shape, patch))
        flat = channels * self.start[1] * self.start[2]
        self.project = nn.Sequential(dense(code_width(in_shape), hidden, activation), dense(hidden, flat, activation))
        self.grid = nn.Sequential(*_blocks(channels, blocks, activation, norm), activation_layer(activation))
        self.pixels = nn.Sequential(nn.Conv2d(channels, out_shape[0] * patch * patch, 1), nn.PixelShuffle(patch))

    def forward(self, code: Tensor) -> Tensor:
        """From ``[N, D]`` to ``[N, C, H, W]``."""
        start = self.project(code).unflatten(-1, self.start).contiguous(memory_format=channels_last)
        return self.pixels(self.grid(start))
