"""Latent variables that are maps: conv encoders and decoders give and take them."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Independent, Normal, kl_divergence

import vaezoo
from vaezoo.runs.setup import prepare_training
from vaezoo.spec.load import load_spec
from vaezoo.testing import check_spec
from vaezoo.utils.errors import SpecError

CPU = torch.device("cpu")
MAPS = {
    "encoder": {"type": "conv", "channels": [4, 8]},
    "latents": {"type": "single", "maps": True},
    "decoder": {"type": "conv", "channels": [8, 4]},
    "latent_dim": 3,
}


def model_of(spec, **model):
    _, train, (task,) = prepare_training(load_spec(spec(model={**MAPS, **model})), CPU)
    return task.model.eval(), train.first(5)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"decoder": {"type": "mlp", "hidden": [8]}},
        {"posterior": "vaezoo-aae:deterministic"},
        {"condition": {"type": "label"}},
        {
            "condition": {"type": "label", "into": ["prior"]},
            "prior": {"type": "conditional-normal", "hidden": [8]},
        },
        {"condition": {"type": "label", "fuse": "film"}},
    ],
)
def test_models_of_latent_maps_keep_the_contracts(changes, spec):
    train = {"select": "distortion"} if "posterior" in changes else {}
    blocks = {"regularizers": []} if "posterior" in changes else {}
    check_spec(spec(model={**MAPS, **changes}, train=train, **blocks))


def test_a_map_has_the_size_of_the_coarsest_features(spec):
    model, batch = model_of(spec)
    trace = model(batch, 2)
    assert model.spaces == (vaezoo.Space((3, 2, 2)),)
    assert trace.sites[0].z.shape == trace.code.shape == (2, 5, 3, 2, 2)
    site = trace.sites[0]
    q = Independent(Normal(site.q.loc, site.q.scale), 3)
    p = Independent(Normal(torch.zeros(3, 2, 2), torch.ones(3, 2, 2)), 3)
    torch.testing.assert_close(trace.rate, kl_divergence(q, p.expand((5,))).expand(2, 5))


def test_each_position_of_a_map_depends_on_the_features_at_that_position(spec):
    model, _ = model_of(spec)
    features = torch.randn(1, 8, 2, 2)
    changed = features.clone()
    changed[..., 0, 1] += 1.0
    before, after = (model.latents.posterior(h).mean[0] for h in (features, changed))
    moved = (before != after).any(0)  # [2, 2]
    assert moved.tolist() == [[False, True], [False, False]]


def test_a_map_is_encoded_and_decoded_as_a_flat_vector(spec):
    model, batch = model_of(spec)
    z = model.encode(batch.x)
    q = model.posterior(batch)
    assert torch.equal(z, q.mean.flatten(1)) and z.shape == (5, 12)
    expected = model.likelihood_of(q.mean, None, {}).mean
    torch.testing.assert_close(model.decode(z), expected)
    assert model.interpolate(batch.x[:2], batch.x[2:4], 3).shape == (2, 3, 1, 8, 8)
    assert model.traverse(batch.select(slice(1)), torch.tensor([0, 11]), 3).shape == (
        2,
        3,
        1,
        8,
        8,
    )


def test_a_posterior_of_a_vector_from_a_map_uses_all_positions(spec):
    model, batch = model_of(spec, latents="single", decoder={"type": "mlp", "hidden": [8]})
    assert model.latents.posterior.linear.in_features == 8 * 2 * 2
    assert model.encode(batch.x).shape == (5, 3)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"encoder": {"type": "mlp", "hidden": [8]}}, "maps need an encoder whose last feature"),
        ({"encoder": {"type": "conv", "hidden": 8}}, "for conv set hidden: 0"),
        (
            {"decoder": {"type": "conv", "channels": [8]}},
            "the code is a map of 2x2, but the decoder starts at 4x4; use as many channels",
        ),
        ({"decoder": {"type": "conv", "channels": [8, 4], "hidden": 9}}, "hidden: 9 flattens"),
        ({"prior": "mixture"}, "needs latent vectors, not maps of shape (3, 2, 2)"),
    ],
)
def test_parts_that_do_not_fit_a_map_say_what_to_do(model, message, spec):
    with pytest.raises(SpecError) as error:
        model_of(spec, **model)
    assert message in str(error.value)
