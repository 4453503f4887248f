"""Images of users become numbers as those of a data set do."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from vaezoo.data.image_files import ImageReader
from vaezoo.data.image_format import ImageFormat
from vaezoo.data.images import image_spec
from vaezoo.utils.errors import DataError


@pytest.fixture
def file(tmp_path):
    pixels = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4
    Image.fromarray(pixels).save(tmp_path / "x.png")
    return tmp_path / "x.png"


def test_pixels_are_numbers_from_0_to_1(file):
    x = ImageFormat(image_spec((1, 8, 8), "none", ())).read(file).x
    torch.testing.assert_close(x, (torch.arange(64).view(1, 1, 8, 8) * 4) / 255)


def test_binary_pixels_are_cut_at_one_half_or_sampled_by_the_image_alone(file):
    data = image_spec((1, 8, 8), "threshold", ())
    cut = ImageFormat(data, binarize="threshold").read(file).x
    assert torch.equal(cut, (torch.arange(64).view(1, 1, 8, 8) * 4 > 127).float())
    for binarize in ("static", "dynamic"):
        form = ImageFormat(data, binarize=binarize)
        sampled = form.read(file).x
        assert {*sampled.unique().tolist()} == {0, 1} and not torch.equal(sampled, cut)
        assert torch.equal(sampled, form.read(file).x)


def test_images_are_resized_and_given_channels_as_the_reader_says(file):
    data = image_spec((3, 4, 4), "none", ())
    assert ImageFormat(data, reader=ImageReader(3, 4)).read(file).x.shape == (1, 3, 4, 4)
    with pytest.raises(DataError, match=r"x\.png: is 8x8 .* are 4x4; resize it"):
        ImageFormat(data).read(file)


def test_other_data_has_no_image_files():
    with pytest.raises(ValueError, match="are no images"):
        ImageFormat(image_spec((2, 8, 8), "none", ()))
