"""The sizes of feature maps of strided convolutions, shared by the conv encoder and decoder."""

from __future__ import annotations

from vaezoo.data.dataspec import Shape


def strided_sizes(shape: Shape, layers: int, kernel: int) -> list[tuple[int, int]]:
    """Height and width before the first layer and after each layer (stride 2, padding 1).

    Args:
        shape: the shape of one image, ``(C, H, W)``.
        layers: the number of layers.
        kernel: the kernel size, 3 or 4.

    Raises:
        ValueError: the shape is not that of an image, or the image is too small for the layers.
    """
    if len(shape) != 3:
        raise ValueError(
            f"conv needs images (channels, height, width), but the data is {shape}; use mlp"
        )
    sizes = [(shape[1], shape[2])]
    for layer in range(layers):
        height, width = sizes[-1]
        if min(height, width) < 2:
            raise ValueError(
                f"an image of {shape[1]}x{shape[2]} is too small for {layers} layers; use {layer}"
            )
        sizes.append(((height + 2 - kernel) // 2 + 1, (width + 2 - kernel) // 2 + 1))
    return sizes
