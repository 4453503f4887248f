from __future__ import annotations

import numpy as np
import pytest
import torch

from vaezoo.data.images import (
    binarize_dynamic,
    binarize_static,
    image_split,
    image_transform,
    lazy_split,
)

GREY = np.random.default_rng(0).integers(0, 256, (40, 1, 7, 7), dtype=np.uint8)


def observed(split):
    return split.transform(split.x)


@pytest.mark.parametrize("skip", [1, 2, 17])
def test_fixed_draw_of_a_part_is_the_part_of_the_fixed_draw(skip):
    assert np.array_equal(binarize_static(GREY[skip:], 3, skip), binarize_static(GREY, 3)[skip:])


def test_fixed_draw_is_the_documented_one():
    uniform = np.random.Generator(np.random.PCG64(5)).random(GREY.shape, dtype=np.float32)
    assert np.array_equal(binarize_static(GREY, 5), uniform < GREY.astype(np.float32) / 255)


@pytest.mark.parametrize(
    "draw", [binarize_dynamic, lambda x: torch.from_numpy(binarize_static(x.numpy(), 0)).float()]
)
def test_draws_have_the_probability_of_the_pixel(draw):
    x = torch.tensor([0, 51, 128, 255], dtype=torch.uint8).expand(40_000, 4).clone()
    rate = draw(x).mean(0)
    assert rate[0] == 0 and rate[3] == 1
    assert torch.allclose(rate, torch.tensor([0, 0.2, 128 / 255, 1]), atol=0.015)


def test_threshold_is_one_half():
    x = torch.tensor([0, 127, 128, 255], dtype=torch.uint8)
    assert image_transform("threshold", True)(x).tolist() == [0, 0, 1, 1]


def test_grey_is_scaled_to_the_unit_interval():
    x = torch.arange(256, dtype=torch.uint8)
    assert torch.allclose(image_transform("none", True)(x), torch.arange(256) / 255)
    assert image_transform("none", True)(x).max() == 1


def test_dynamic_images_are_drawn_afresh_in_training_only():
    train = image_split(GREY, None, "dynamic", train=True, seed=0)
    held_out = image_split(GREY, None, "dynamic", train=False, seed=0)
    assert not torch.equal(observed(train), observed(train))
    assert torch.equal(observed(held_out), observed(held_out))
    assert torch.equal(observed(held_out), torch.from_numpy(binarize_static(GREY, 0)).float())


def test_a_split_is_a_copy():
    x = GREY.copy()
    split = image_split(x, None, "none", train=True, seed=0)
    x[:] = 0
    assert torch.equal(split.x, torch.from_numpy(GREY))


def test_images_are_stored_contiguously():
    assert image_split(
        GREY.transpose(0, 2, 3, 1), None, "none", train=True, seed=0
    ).x.is_contiguous()


@pytest.mark.parametrize("binarize", ["none", "threshold", "static"])
@pytest.mark.parametrize("train", [True, False])
def test_lazy_images_are_those_in_memory(binarize, train):
    lazy = lazy_split(range(40), lambda i: (GREY[i], None), binarize, train=train, seed=2)
    complete = image_split(GREY, None, binarize, train=train, seed=2)
    assert torch.equal(
        lazy.transform(torch.stack([x for x, _ in map(lazy.x.__getitem__, range(40))])),
        observed(complete),
    )
