"""Reads image files of users as a data set of images reads its own."""

from __future__ import annotations

import zlib
from pathlib import Path

import torch

from vaezoo.data.batch import Batch
from vaezoo.data.dataspec import DataSpec
from vaezoo.data.format import Format
from vaezoo.data.image_files import REPLACE_HINT, SUFFIXES, ImageReader
from vaezoo.data.images import Binarize, binarize_static, binarize_threshold, to_unit_interval
from vaezoo.utils.errors import DataError


class ImageFormat(Format):
    """One image in a file, with the channels of the data: grey, colour, or colour and opacity.

    Args:
        data: describes images ``(C, H, W)`` with numbers from 0 to 1.
        reader: reads the pixels; by default as many channels as the data has, in the size of the
            file.
        binarize: how images become 0 or 1, if the data is: ``threshold`` at one half, otherwise
            sampled, where the samples depend on the pixels only.
    """

    one_example_per_file = True

    def __init__(
        self,
        data: DataSpec,
        /,
        *,
        reader: ImageReader | None = None,
        binarize: Binarize = "static",
    ) -> None:
        super().__init__(data)
        if not is_image(data):
            raise ValueError(f"examples of shape {data.shape} are no images")
        self.reader = reader or ImageReader(data.shape[0], hint=REPLACE_HINT)
        self.binarize = binarize

    def write(self, path: Path, examples: Batch, columns: int) -> None:
        """Not possible: sheets of images are written by the format ``png``."""
        raise NotImplementedError("is for reading only")

    def read(self, path: Path) -> Batch:
        """Reads an image as floats ``[1, C, H, W]``.

        Raises:
            DataError: it cannot be read, or has another size; names the file.
        """
        pixels = self.reader.read(path)  # uint8 [C, H, W]
        if pixels.shape != self.data.shape:
            (_, rows, columns), (_, height, width) = pixels.shape, self.data.shape
            raise DataError(
                f"{path}: is {rows}x{columns} (height x width), the images of this model are "
                f"{height}x{width}; resize it"
            )
        x = torch.from_numpy(pixels.copy())[None]
        if self.data.support != "binary":
            return Batch(to_unit_interval(x))
        if self.binarize == "threshold":
            return Batch(binarize_threshold(x))
        sampled = binarize_static(pixels[None], seed=zlib.crc32(pixels.tobytes()))
        return Batch(torch.from_numpy(sampled).float())


def is_image(data: DataSpec) -> bool:
    """Whether image files can be examples of the data."""
    channels = data.shape[0] if len(data.shape) == 3 else 0
    return channels in (1, 3, 4) and data.support in ("unit", "binary") and not data.mask_dims


def is_image_file(path: Path) -> bool:
    """Whether a file has the ending of an image."""
    return path.suffix.lower() in SUFFIXES
