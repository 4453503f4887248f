"""Reads image files: known formats alone, upright, and with 8 bits for each channel.

Shapes: C channels, H rows and W columns.
"""

from __future__ import annotations

import io
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, TypeAlias

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from vaezoo.data.dataspec import Shape
from vaezoo.utils.errors import DataError, one_line

FORMATS = ("PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP", "PPM")
"""Pillow's names of the formats that are read, whatever a file is called. Others start programs,
such as that for EPS, or hold no pixels."""
SUFFIXES = frozenset(
    {".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".gif", ".tif", ".tiff", ".webp"}
    | {".bmp", ".ppm", ".pgm", ".pbm", ".pnm"}
)
PAGED_SUFFIXES = frozenset({".png", ".apng", ".gif", ".tif", ".tiff", ".webp"})
"""The endings of formats that may hold several pages or frames. Those of JPEG are previews."""
MAX_PIXELS = 100_000_000
"""The number of pixels above which an image is refused before it is decoded."""
REPLACE_HINT = "replace or remove it"

Background: TypeAlias = Literal["white", "black"]
"""What is seen where an image is transparent."""

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""How an image is put upright, by its EXIF orientation."""
_BITS_PER_SAMPLE = 258  # a tag of TIFF
_pixel_limit_lock = threading.Lock()


@dataclass(frozen=True)
class ImageReader:
    """Reads images as uint8 ``[C, H, W]``.

    16-bit values are divided by 65535 (12-bit ones of TIFF by 4095) and scaled to 0..255; floats
    must lie from 0 to 1. Of several pages or frames the first is read.

    Attributes:
        channels: 1 for grey, 3 for colour, 4 for colour and opacity.
        size: height and width to resize to; 0 keeps the size of the image.
        background: what is seen where an image is transparent, unless ``channels`` is 4.
        max_pixels: the number of pixels above which an image is refused.
        hint: what to do about an image that cannot be read, for messages.
    """

    channels: int
    size: int = 0
    background: Background = "white"
    max_pixels: int = MAX_PIXELS
    hint: str = REPLACE_HINT

    def read(self, file: Path, like: tuple[Shape, str] | None = None) -> np.ndarray:
        """Reads a file.

        Args:
            file: the image file.
            like: the shape that the image must have, and the name of one that has it.

        Raises:
            DataError: the image cannot be read or has another shape; names the file.
        """
        with open_image(file, self.max_pixels, self.hint) as image:
            return self.to_pixels(image, str(file), like)

    def to_pixels(
        self, image: Image.Image, source: str, like: tuple[Shape, str] | None = None
    ) -> np.ndarray:
        """Converts an image in any mode.

        Args:
            image: as Pillow opened it.
            source: names the image in error messages.
            like: as for ``read``.

        Raises:
            DataError: the values have no known range, or the image has another shape.
        """
        image.load()  # some formats know their orientation only now
        turn = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
        image = _to_eight_bits(image, source)
        if image.has_transparency_data:
            image = image.convert("RGBA")
            if self.channels != 4:
                backdrop = Image.new("RGBA", image.size, self.background)
                image = Image.alpha_composite(backdrop, image)
        image = image.convert(_MODES[self.channels])
        if turn is not None:
            image = image.transpose(turn)
        if self.size:
            image = image.resize((self.size, self.size), Image.Resampling.BILINEAR)
        pixels = np.asarray(image)
        pixels = pixels[None] if self.channels == 1 else pixels.transpose(2, 0, 1)  # [C, H, W]
        if like is not None and pixels.shape != like[0]:
            (_, rows, columns), name = like
            actual = f"{pixels.shape[1]}x{pixels.shape[2]}"
            raise DataError(f"{source}: is {actual}, {name} is {rows}x{columns}; set `size`")
        return pixels


def read_rgb(file: str) -> Image.Image:
    """Reads a file as an RGB image, as the data sets of torchvision want it from a loader."""
    return Image.fromarray(ImageReader(3).read(Path(file)).transpose(1, 2, 0))


def count_pages(file: Path, max_pixels: int) -> int:
    """The number of pages or frames of an image file; 1 if it cannot be read."""
    try:
        with open_image(file, max_pixels) as image:
            return getattr(image, "n_frames", 1)
    except DataError:
        return 1


@contextmanager
def open_image(file: Path, max_pixels: int, hint: str = REPLACE_HINT) -> Iterator[Image.Image]:
    """Opens an image file and reads its header.

    Args:
        file: the image file.
        max_pixels: the number of pixels above which it is refused.
        hint: what to do about one that cannot be read, for messages.

    Raises:
        DataError: there or in the block: it is none of ``FORMATS``, is damaged, or has more than
            ``max_pixels`` pixels; names the file.
    """
    try:
        # from a stream: Pillow reads turned TIFF files wrongly where it maps them to memory
        with (
            warnings.catch_warnings(action="ignore"),  # of damaged EXIF, which leaves the pixels
            _LimitedReader(io.FileIO(file)) as stream,
            _open(stream) as image,
        ):
            if image.width * image.height > max_pixels:
                raise DataError(
                    f"{file}: has {image.width:,} x {image.height:,} pixels, more than "
                    f"{max_pixels:,}; make it smaller, or raise `max_pixels`"
                )
            yield image
    except DataError:
        raise
    except UnidentifiedImageError:
        formats = ", ".join(FORMATS)
        raise DataError(
            f"{file}: not a readable image: its content is none of {formats}; {hint}"
        ) from None
    except Exception as error:  # the decoders raise many types on damaged files
        reason = one_line(error) or type(error).__name__
        raise DataError(f"{file}: not a readable image: {reason}; {hint}") from error


class _LimitedReader(io.BufferedReader):
    """Reads no more than there is, as a buffer is made for all that a damaged file declares."""

    def __init__(self, raw: io.FileIO) -> None:
        super().__init__(raw)
        self._size = os.fstat(raw.fileno()).st_size

    def read(self, size: int | None = -1, /) -> bytes:
        """The next bytes, at most ``size`` of them; all that are left if it is negative."""
        left = max(self._size - self.tell(), 0)
        return super().read(left if size is None or size < 0 else min(size, left))


def _open(stream: BinaryIO) -> Image.Image:
    """Opens an image without Pillow's own limit of pixels, which is one for the whole process."""
    with _pixel_limit_lock:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(stream, formats=FORMATS)
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _to_eight_bits(image: Image.Image, source: str) -> Image.Image:
    """An image whose values have more than 8 bits as ``L``, or ``LA``; others as they are."""
    if image.mode.startswith("I;16"):
        bits = getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE, (16,))[0]
    elif image.mode == "I" and image.format in ("PNG", "PPM"):
        bits = 16  # Pillow holds them in 32
    elif image.mode not in ("I", "F"):
        return image
    else:
        bits = 0
    values = np.asarray(image)
    low, high = values.min(), values.max()
    if image.mode == "I" and not bits:
        raise DataError(
            f"{source}: holds 32-bit integers, from {low} to {high}, whose range is not known; "
            "save it with 8 or 16 bits, or as floats from 0 to 1"
        )
    greatest = 2**bits - 1 if bits else 1
    if not (low >= 0 and high <= greatest):
        raise DataError(
            f"{source}: holds values from {low:g} to {high:g}; scale them to 0 to {greatest}"
        )
    grey = Image.fromarray(np.round(values * (255 / greatest)).astype(np.uint8))
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grey.putalpha(Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8)))
    return grey
