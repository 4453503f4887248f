"""Pictures: how they are written to files and read from them."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from tests.fuzz.harness import (
    Example,
    Source,
)

LOSSLESS = ("png", "bmp", "tif", "gif", "webp", "ppm")


ORIENTATION = 0x0112


@dataclass
class Picture:
    """A picture as it is to be seen: its file, uint8 ``[H, W, 3]``, its class and its split."""

    file: str
    pixels: np.ndarray
    label: str
    split: str


def expect(source: Source, picture: Picture) -> Example:
    """An example of a picture, with numbers from 0 to 255 ``[C, H, W]``."""
    pixels = picture.pixels.astype(np.float64)
    if source.options["size"]:
        assert (np.ptp(pixels, (0, 1)) < 3).all() or pixels.shape[:2] == (6, 6)
        pixels = np.tile(pixels[:1, :1], (source.options["size"],) * 2 + (1,))
    if source.options["channels"] == 1:
        pixels = pixels @ np.array([[0.299], [0.587], [0.114]])
    return {"x": pixels.transpose(2, 0, 1), "label": picture.label}


def decode(data: bytes, rotate: bool = True) -> tuple[np.ndarray, bool]:
    """The first picture of a file as colours, and whether there is no doubt about it."""
    with warnings.catch_warnings(action="error", category=Image.DecompressionBombWarning):
        warnings.simplefilter("ignore", UserWarning)
        image = Image.open(io.BytesIO(data))
        is_plain = image.mode in ("L", "RGB", "P", "1") and "transparency" not in image.info
        is_plain &= getattr(image, "n_frames", 1) == 1
        pixels = np.asarray(image.convert("RGB"))
        orientation = image.getexif().get(ORIENTATION, 1) if rotate else 1
    return (UNDONE[orientation](pixels) if orientation in UNDONE else pixels), is_plain


SETTINGS: dict[str, dict[str, Any]] = {"webp": {"lossless": True, "exact": True}}


def save(image: Image.Image, kind: str, **settings: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, {"tif": "tiff"}.get(kind, kind), **settings)
    return stream.getvalue()


def encode(pixels: np.ndarray, kind: str, mode: str = "RGB", **settings: Any) -> bytes:
    """A file of a picture ``[H, W, 3]``; ``mode`` must be able to hold it."""
    image = Image.fromarray(pixels)
    if mode == "P":
        image = image.quantize(256, dither=Image.Dither.NONE)
        if not (np.asarray(image.convert("RGB")) == pixels).all():
            image = Image.fromarray(pixels)
    elif mode in ("L", "LA"):
        image = Image.fromarray(np.ascontiguousarray(pixels[..., 0])).convert(mode)
    elif mode != "RGB":
        image = image.convert(mode)
    return save(image, kind, **SETTINGS.get(kind, {}), **settings)


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_of(values: np.ndarray, depth: int, size: tuple[int, int] | None = None) -> bytes:
    """A PNG file of grey values ``[H, W]`` or colours ``[H, W, 3]`` of ``depth`` bits."""
    height, width = size or values.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, depth, 2 * (values.ndim == 3), 0, 0, 0)
    rows = []
    for row in values.reshape(len(values), -1):
        bits = (row[:, None] >> np.arange(depth)[::-1]) & 1
        rows.append(b"\0" + np.packbits(bits.astype(np.uint8)).tobytes())
    body = chunk(b"IDAT", zlib.compress(b"".join(rows))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body


def bomb(rng: np.random.Generator) -> bytes:
    """A PNG file that claims to be of another size than it is."""
    size = [(2, 60_000), (60_000, 60_000), (11_000, 11_000), (2**31 - 1, 1), (0, 5)]
    return png_of(np.zeros((3, 3), np.uint8), 8, size[rng.integers(len(size))])


def _transpose(x: np.ndarray) -> np.ndarray:
    return x.swapaxes(0, 1)


UNDONE = {
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: _transpose,
    6: lambda x: np.rot90(x, -1),
    7: lambda x: _transpose(x)[::-1, ::-1],
    8: lambda x: np.rot90(x, 1),
}
"""From stored pixels with each EXIF orientation to the picture that is seen."""


ROTATIONS = {**UNDONE, 6: UNDONE[8], 8: UNDONE[6]}
"""From a picture to the pixels that are stored."""
