"""Fusing a context with the input of an encoder or decoder."""

from __future__ import annotations

import pytest
import torch

from vaezoo.data.dataspec import DataSpec
from vaezoo.model.fusion import ContextFusion
from vaezoo.spec.composer import compose
from vaezoo.spec.load import load_spec

TARGETS = [(5,), (7, 5), (2, 8, 6)]
CONTEXTS = [(3,), (4, 4, 3)]


@pytest.mark.parametrize("shape", TARGETS, ids=str)
@pytest.mark.parametrize("context_shape", CONTEXTS, ids=str)
@pytest.mark.parametrize("how", ["concat", "film"])
def test_any_context_goes_into_any_input(shape, context_shape, how):
    fusion = ContextFusion(shape, context_shape, how)
    x, context = torch.randn(6, *shape), torch.randn(6, *context_shape)
    joined = fusion(x, context)
    assert joined.shape == (6, *fusion.out_shape)
    other = fusion(x, context + 1)
    assert not torch.allclose(joined, other), "the context must show"
    assert not torch.allclose(fusion(x + 1, context), joined), "and so must the input"
    assert torch.equal(fusion(x[2:3], context[2:3]), joined[2:3]) or torch.allclose(
        fusion(x[2:3], context[2:3]), joined[2:3], atol=1e-6
    ), "each example has its own"


def test_concat_leaves_the_input_as_it_is_and_puts_the_context_beside():
    x, context = torch.randn(2, 3, 4, 4), torch.randn(2, 5)
    joined = ContextFusion((3, 4, 4), (5,), "concat")(x, context)
    assert torch.equal(joined[:, :3], x) and torch.equal(joined[:, 3:, 1, 2], context)
    maps = torch.randn(2, 5, 4, 4)
    assert torch.equal(ContextFusion((3, 4, 4), (5, 4, 4), "concat")(x, maps)[:, 3:], maps)


def test_film_scales_and_shifts():
    fusion = ContextFusion((80,), (3,), "film")
    x, context = torch.randn(4, 80), torch.randn(4, 3)
    scale, shift = fusion.modulate(context).chunk(2, 1)
    torch.testing.assert_close(fusion(x, context), fusion.lift(x) * (1 + scale) + shift)


@pytest.mark.parametrize(
    ("shape", "mask", "remaining"),
    [
        ((5,), (2, 5), False),
        ((7, 5), (2, 7), True),
        ((7, 5), (2, 7, 5), False),
        ((2, 8, 6), (2, 2, 8, 6), False),
    ],
    ids=str,
)
def test_a_mask_is_kept_where_the_grown_dimension_lies_beyond_it(shape, mask, remaining):
    inputs = torch.ones(mask, dtype=torch.bool)
    assert (ContextFusion(shape, (3,), "concat").fused_mask(inputs) is inputs) == remaining
    assert ContextFusion(shape, (3,), "concat").fused_mask(None) is None


def test_a_flat_encoder_gets_a_context_once_and_others_in_every_pixel():
    def width(encoder):
        labelled = DataSpec((1, 8, 8), "unit", classes=("a", "b", "c"), condition_shape=())
        model = {"latent_dim": 2, "encoder": encoder, "decoder": "mlp", "likelihood": "bernoulli"}
        inputs = {
            "spec": "vaezoo/v1",
            "name": "x",
            "data": "digits",
            "model": {**model, "condition": "label"},
        }
        return compose(
            load_spec({**inputs, "train": {"steps": 1}}), labelled, 10
        ).model.into_encoder.out_shape

    assert width("mlp") == (64 + 3,)
    assert width({"type": "conv", "channels": [4]}) == (1 + 3, 8, 8)
