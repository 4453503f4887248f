"""Encoders and decoders for any image size and number of channels, and schedules."""

from __future__ import annotations

import itertools

import pytest
import torch

from tests.conftest import decoder_wiring, encoder_wiring
from vaezoo.components.decoders import ConvDecoder, MLPDecoder
from vaezoo.components.encoders import ConvEncoder, MLPEncoder
from vaezoo.components.patches import PatchDecoder, PatchEncoder
from vaezoo.components.schedules import Constant, Cyclical, Linear

SHAPES = [(1, 28, 28), (3, 32, 32), (1, 8, 8), (3, 13, 27), (2, 64, 48)]


@pytest.mark.parametrize(
    ("shape", "kernel", "block"), list(itertools.product(SHAPES, [3, 4], ["plain", "residual"]))
)
def test_conv_fits_any_image(shape, kernel, block):
    encoder = ConvEncoder(
        encoder_wiring(shape), channels=[4, 6], kernel=kernel, block=block, norm="batch", hidden=10
    )
    features = encoder(torch.randn(3, *shape))
    assert [f.shape[1] for f in features] == [4, 6, 10]
    decoder = ConvDecoder(
        decoder_wiring((5,), shape), channels=[6, 4], kernel=kernel, block=block, norm="layer"
    )
    assert decoder(torch.randn(3, 5)).shape == (3, *shape)


@pytest.mark.parametrize("shape", [(7,), (1, 28, 28), (6, 3)])
@pytest.mark.parametrize(
    "options", [{}, {"gated": True}, {"norm": "batch", "dropout": 0.5}, {"activation": "silu"}]
)
def test_mlp_fits_any_shape(shape, options):
    (feature,) = MLPEncoder(encoder_wiring(shape), hidden=[9, 8], **options)(
        torch.randn(4, *shape)
    )
    assert feature.shape == (4, 8)
    assert MLPDecoder(decoder_wiring((2,), shape), hidden=[9], **options)(
        torch.randn(4, 2)
    ).shape == (4, *shape)


def test_patch_fits_images_its_patches_tile():
    encoder, decoder = (
        PatchEncoder(encoder_wiring((3, 12, 20)), patch=4),
        PatchDecoder(decoder_wiring((5,), (3, 12, 20)), patch=4),
    )
    grid, top = encoder(torch.randn(2, 3, 12, 20))
    assert grid.shape == (2, 32, 3, 5) and top.shape == (2, 256)
    assert decoder(torch.randn(2, 5)).shape == (2, 3, 12, 20)
    with pytest.raises(ValueError, match="patches of 5 do not tile an image of 12x20"):
        PatchEncoder(encoder_wiring((3, 12, 20)), patch=5)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: ConvEncoder(encoder_wiring((7,))), "conv needs images"),
        (
            lambda: ConvEncoder(encoder_wiring((1, 4, 4)), channels=[2, 2, 2]),
            "too small for 3 layers; use 2",
        ),
        (lambda: PatchEncoder(encoder_wiring((7,))), "patch needs images"),
        (lambda: MLPDecoder(decoder_wiring((2, 3), (4,))), "needs a code of one vector"),
    ],
)
def test_what_cannot_fit_is_refused_with_a_reason(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_linear_schedule_rises_and_stays():
    schedule = Linear(start=0.2, end=1.0, steps=4)
    assert [schedule(step) for step in range(6)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0])


def test_cyclical_schedule_is_four_rises_and_holds():
    schedule = Cyclical(steps=80)
    values = [schedule(step) for step in range(100)]
    assert values[:20] == pytest.approx([step / 10 for step in range(10)] + [1.0] * 10)
    assert values[20:40] == pytest.approx(values[:20]) and values[60:80] == pytest.approx(
        values[:20]
    )
    assert set(values[80:]) == {1.0}


def test_constant_schedule_is_constant():
    assert Constant(value=3.0)(0) == Constant(value=3.0)(10**9) == 3.0
