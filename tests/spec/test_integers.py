"""Integers that no computer takes, in every option of every component: one line, where it is."""

from __future__ import annotations

import pytest

from vaezoo.plugins import discovery
from vaezoo.plugins.kinds import KINDS
from vaezoo.spec.load import load_spec
from vaezoo.spec.options import load_component
from vaezoo.utils.errors import SpecError

SPEC = """
spec: vaezoo/v2
name: tiny
data: digits
model: {latent_dim: 2, encoder: mlp, decoder: mlp, likelihood: bernoulli}
"""


def seeds():
    """The options of all components that seed a generator."""
    for kind in KINDS:
        for entry in discovery.catalogue().all(kind):
            for name in load_component(entry)[1].model_fields:
                if name.endswith("seed"):
                    yield kind, entry.name, name


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 10**39, -(10**39)])
@pytest.mark.parametrize(
    "key", ["seed", "train.epochs", "data.batch_size", "data.split_seed", "model.encoder.hidden"]
)
def test_an_override_of_more_than_64_bits_is_refused(key, number):
    value = f"[{number}]" if key.endswith("hidden") else str(number)
    with pytest.raises(SpecError) as caught:
        load_spec(SPEC, [f"{key}={value}"], text=True)
    assert f"{number} is not a 64-bit integer" in str(caught.value)
    assert str(caught.value).startswith(f"-s {key}=") and "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["0xffffffffffffffff", "0x8000000000000000"])
def test_other_spellings_of_such_an_integer_are_refused_in_a_file(text):
    with pytest.raises(SpecError, match=r"<text>:6:7: .* is not a 64-bit integer"):
        load_spec(f"{SPEC}seed: {text}", text=True)


@pytest.mark.parametrize("number", [2**63 - 1, 0])
def test_the_largest_and_smallest_seeds_are_accepted(number):
    assert load_spec(SPEC, [f"data.split_seed={number}", f"seed={number}"], text=True)


@pytest.mark.parametrize(("kind", "component", "option"), sorted(seeds()))
def test_a_seed_below_zero_is_refused(kind, component, option):
    _, model = load_component(discovery.catalogue().find(kind, component))
    with pytest.raises(ValueError, match="greater than or equal to 0"):
        model.model_validate({option: -1})


def test_a_negative_split_seed_is_refused_where_it_is_written():
    with pytest.raises(SpecError) as caught:
        load_spec(SPEC, ["data.split_seed=-1"], text=True)
    problem = "-s data.split_seed=-1:1:1: data.split_seed: must be >= 0, not -1"
    assert str(caught.value) == problem
