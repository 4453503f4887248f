"""Image files of every kind that users have, read through the data set of folders."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from vaezoo.data.datasets.image_folder import ImageFolder
from vaezoo.utils.errors import DataError

RAMP = np.linspace(0, 65535, 64).round().astype(np.uint16).reshape(8, 8)
EIGHT = np.round(RAMP / 257).astype(np.uint8)
GREY = np.arange(0, 240, 10, dtype=np.uint8).reshape(4, 6)
NONE = np.zeros((0, 8, 3), np.uint16)
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n"
RED = np.array([[(200, 0, 0, 255), (200, 0, 0, 128), (200, 0, 0, 0)]], np.uint8)
"""Opaque, half transparent and fully transparent."""


@pytest.fixture
def read(tmp_path):
    """Reads the training image of a folder of three equal files, ``[C, H, W]``."""

    def first(name, save, **options):
        for i in range(3):
            save(tmp_path / f"{i}{name}")
        options = {"channels": 1, "fractions": (1, 1, 1)} | options
        return ImageFolder(path=str(tmp_path), **options).split("train").x[0].numpy()

    return first


def pillow(pixels, mode=None, **options):
    """Saves pixels with Pillow."""

    def save(path):
        image = Image.fromarray(pixels)
        (image.convert(mode) if mode else image).save(path, **options)

    return save


def content(data: bytes):
    return lambda path: path.write_bytes(data)


def png(width: int, height: int, pixels: np.ndarray) -> bytes:
    """A PNG, which Pillow cannot write, of uint16 ``[H, W, 3]``, with any size in its header."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    head = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    chunks = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


@pytest.mark.parametrize(
    ("name", "save", "expected"),
    [
        ("16 bits.png", pillow(RAMP), EIGHT),
        ("16 bits.tif", pillow(RAMP), EIGHT),
        ("16 bits, big-endian.TIF", pillow(RAMP.astype(">u2")), EIGHT),
        ("16 bits.pgm", content(b"P5 8 8 65535\n" + RAMP.astype(">u2").tobytes()), EIGHT),
        ("maxval 15.pgm", content(b"P5 4 1 15\n\0\5\12\17"), [[0, 85, 170, 255]]),
        ("floats.tiff", pillow((RAMP / 65535).astype(np.float32)), EIGHT),
        ("one bit.png", pillow(GREY > 100), np.where(GREY > 100, 255, 0)),
        ("one bit.pbm", content(b"P4 8 1\n\xa0"), [[0, 255, 0, 255, 255, 255, 255, 255]]),
    ],
)  # fmt: skip
def test_values_are_scaled_by_the_range_of_their_type(read, name, save, expected):
    assert np.array_equal(read(name, save)[0], expected)


def test_colours_of_16_bits_are_scaled(read):
    pixels = np.stack([RAMP, RAMP.T, RAMP[::-1]], -1)
    expected = pixels.transpose(2, 0, 1) / 257
    actual = read(".png", content(png(8, 8, pixels)), channels=3)
    assert np.abs(actual - expected).max() <= 1


@pytest.mark.parametrize(
    ("save", "words"),
    [
        (pillow(np.arange(64, dtype=np.int32).reshape(8, 8)), ["32-bit integers, from 0 to 63"]),
        (pillow(np.full((8, 8), -1, np.float32)), ["from -1 to -1", "0 to 1"]),
        (pillow(np.full((8, 8), np.nan, np.float32)), ["from nan to nan", "0 to 1"]),
    ],
)
def test_values_without_a_known_range_are_refused(read, refuses, save, words):
    refuses(DataError, lambda: read(".tif", save), ".tif: holds", *words)


@pytest.mark.parametrize(
    ("name", "save"),
    [
        ("alpha.png", pillow(RED)),
        ("alpha.webp", pillow(RED, lossless=True, exact=True)),
        ("a grey one.png", pillow(RED, "LA")),
        ("colour.png", pillow(RED[..., :3], transparency=(200, 0, 0))),
        ("value.png", pillow(RAMP, transparency=0)),
        ("palette.png", pillow(RED[..., 0], "P", transparency=200)),
        ("palette.gif", pillow(RED[..., 0], "P", transparency=200)),
    ],
)
def test_what_is_transparent_shows_the_background(read, name, save):
    white, black = (
        read(name, save, channels=3, background=background) for background in ("white", "black")
    )
    place = (slice(None), 0, 0 if name == "value.png" else -1)
    assert (white[place] == 255).all() and (black[place] == 0).all()
    if name == "alpha.png":
        assert white[:, 0, :2].T.tolist() == [[200, 0, 0], [227, 127, 127]]
        opacity = read(name, save, channels=4)
        assert opacity[:, 0].T.tolist() == RED[0].tolist()


@pytest.mark.parametrize("name", ["o.jpg", "o.png", "o.tif", "o.webp"])
@pytest.mark.parametrize(("orientation", "quarter_turns"), [(6, -1), (8, 1), (3, 2)])
def test_photographs_are_read_upright(read, name, orientation, quarter_turns):
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = np.kron(GREY, np.ones((8, 8), np.uint8))
    options = {"lossless": True} if name == "o.webp" else {"quality": 100} if "jpg" in name else {}
    actual = read(name, pillow(pixels, exif=exif, **options))[0]
    expected = np.rot90(pixels, quarter_turns)
    assert actual.shape == expected.shape
    assert np.abs(actual.astype(int) - expected).max() <= 2  # JPEG rounds


def test_damaged_exif_is_no_matter(read):
    assert read("a.png", pillow(GREY, exif=b"Exif\0\0II*\0\xff\xff\xff\x7f")).tolist() == [
        GREY.tolist()
    ]


def test_pages_after_the_first_are_counted(tmp_path):
    frames = [Image.fromarray(np.full((4, 4), value, np.uint8)) for value in (10, 90, 200)]
    for name in ("a.gif", "b.tif", "c.webp", "d.png", "e.jpg"):
        options = {"format": "MPO"} if name == "e.jpg" else {}
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], **options)
    frames[0].save(tmp_path / "f.png")
    data = ImageFolder(path=str(tmp_path), channels=1, fractions=(1, 1, 1))
    (phrase,) = data.left_out
    assert phrase.startswith("4 images with pages after the first (") and "has 3" in phrase
    assert all((data.split(name).x == 10).all() for name in data.sizes)


@pytest.mark.parametrize(
    ("save", "words"),
    [
        (content(EPS), "none of PNG"),
        (content(b""), "none of PNG"),
        (content(png(60_000, 50_000, NONE)), "60,000 x 50,000 pixels, more than 100,000,000"),
    ],
)  # fmt: skip
def test_what_must_not_be_opened_is_refused_by_its_header(read, refuses, monkeypatch, save, words):
    opened = []
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *args: opened.append(args))
    refuses(DataError, lambda: read(".png", save), ".png: ", words)
    assert not opened


def test_the_limit_of_pixels_can_be_raised(read, refuses, monkeypatch):
    refuses(DataError, lambda: read(".png", pillow(GREY), max_pixels=23), "raise `max_pixels`")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1)  # that of Pillow is not asked
    assert np.array_equal(read(".png", pillow(GREY), max_pixels=24)[0], GREY)
    assert Image.MAX_IMAGE_PIXELS == 1
