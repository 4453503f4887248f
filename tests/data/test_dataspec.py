"""Descriptions of data: what they refuse, and that they survive being stored with weights."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vaezoo import DataSpec, Field, compose, load_spec
from vaezoo.data.dataspec import SUPPORTS
from vaezoo.data.description import check_storable, from_json, to_json
from vaezoo.pretrained.model_header import read_model_header, write_model_header
from vaezoo.utils.errors import SpecError

FILES = (Path(__file__).parents[2] / "weights").glob("*/*.safetensors")
WEIGHTS = sorted(path for path in FILES if not path.parent.name.startswith("features-"))
CATEGORICAL = ("binary", "categorical", "ordinal")
NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9_-]*", fullmatch=True)
TEXTS = st.text(max_size=6)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
SHAPES = st.lists(st.integers(1, 2**40), max_size=4).map(tuple)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | FLOATS | TEXTS,
    lambda values: st.lists(values, max_size=3) | st.dictionaries(TEXTS, values, max_size=3),
    max_leaves=6,
)
FACTS = st.dictionaries(TEXTS, st.dictionaries(TEXTS, JSON, max_size=3), max_size=2)


@st.composite
def fields(draw, factors=False):
    """Fields with gaps between them, in any order; each factor has one column and no gap."""
    result, stop = [], 0
    for name in draw(st.lists(TEXTS, unique=True, max_size=4)):
        kind = draw(st.sampled_from(("numeric", "integer", "count", "datetime", *CATEGORICAL)))
        start = stop if factors else stop + draw(st.integers(0, 2))
        categories, sizes = (), (1, 2)
        if kind in CATEGORICAL:
            categories = tuple(draw(st.lists(TEXTS, min_size=1, max_size=3)))
            sizes = (1, len(categories))
        stop = start + (1 if factors else draw(st.sampled_from(sizes)))
        scale = draw(FLOATS.filter(bool))
        numbers = {"unit": draw(TEXTS), "offset": draw(FLOATS), "scale": scale}
        result.append(Field(name, kind, (start, stop), categories=categories, **numbers))
    return tuple(result if factors else draw(st.permutations(result)))


def width(columns):
    return max((column.columns[1] for column in columns), default=0)


@st.composite
def specs(draw, is_part=False):
    """Any valid description."""
    columns, support = draw(fields()), draw(st.sampled_from(SUPPORTS) | PLUGIN_SUPPORTS)
    shape = (*draw(SHAPES), max(1, width(columns) + draw(st.integers(0, 3))))
    parts, others = {}, {}
    if support == "joint":
        support = "mixed"
        if not is_part:
            parts = draw(st.dictionaries(NAMES, specs(is_part=True), min_size=1, max_size=3))
            columns, shape, support = (), (), "joint"
    if not is_part:
        named = draw(fields())
        vector = (*draw(SHAPES), max(1, width(named) + draw(st.integers(0, 3))))
        others = {
            "condition_shape": vector if named else draw(st.none() | SHAPES),
            "condition_fields": named,
            "factors": draw(fields(factors=True)),
            "variable_length": draw(st.booleans()),
            "extras": draw(st.dictionaries(NAMES, SHAPES, max_size=3)),
        }
    return DataSpec(
        shape,
        support,
        draw(st.integers(0, 2**40)),
        pixels=draw(st.booleans()),
        mask_dims=draw(st.integers(0, len(shape))),
        classes=tuple(draw(st.lists(TEXTS, max_size=3))),
        fields=columns,
        parts=parts,
        facts=draw(FACTS),
        **others,
    )


PLUGIN_SUPPORTS = st.from_regex(r"[^:\s]+:[^:\s]+", fullmatch=True)


def read(about, file_format="model/v2"):
    """What the header with this text describes."""
    return read_model_header({"about": about, "vaezoo": file_format}, "here")


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(specs(), st.integers(1, 2**40))
def test_any_description_survives_the_header_of_weights(data, train_size):
    check_storable(data)
    header = json.loads(json.dumps(write_model_header(data, train_size, 3)))
    assert header["vaezoo"] == "model/v2"
    result, size = read(header["about"])
    assert result == data and size == train_size
    assert repr(result) == repr(data), "the types and the order of the parts are the same, too"


AGE = Field("age", "numeric", (0, 1))


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"facts": {"p": {"pair": (1, 2)}}}, "facts is {'p': {'pair': (1, 2)}}, but reads"),
        ({"facts": {"p": {"rate": float("nan")}}}, "facts cannot be stored with weights: Out of"),
        ({"facts": {"p": {"rate": float("-inf")}}}, "facts cannot be stored with weights: Out of"),
        ({"facts": {"p": {1: "one"}}}, "facts is {'p': {1: 'one'}}, but reads"),
        ({"facts": {"p": {"t": torch.ones(1)}}}, "facts cannot be stored with weights: Object of"),
        ({"facts": {"p": {"open": open}}}, "facts cannot be stored with weights: Object of"),
        ({"facts": {"p": 3}}, "facts.p: Input should be a valid dictionary"),
        ({"shape": (np.int64(64),)}, "shape cannot be stored with weights: Object of type int64"),
        ({"shape": [64]}, "shape is [64], but reads (64,)"),
        ({"levels": 2.5}, "levels: Input should be a valid integer"),
        ({"classes": ["a"]}, "classes is ['a'], but reads ('a',)"),
        ({"classes": (1, 2)}, "classes.0: Input should be a valid string"),
        ({"extras": {"weight": [1]}}, "extras is {'weight': [1]}, but reads {'weight': (1,)}"),
        ({"fields": [AGE]}, "fields is [Field("),
        ({"fields": (replace(AGE, columns=[0, 1]),)}, "fields is (Field("),
        ({"fields": (replace(AGE, offset=np.float32(1)),)}, "fields cannot be stored with"),
        ({"parts": {"a": DataSpec([3])}, "support": "joint", "shape": ()}, "parts is {'a': "),
    ],
)
def test_what_would_not_survive_is_refused_at_the_line_of_the_data(attributes, message, spec):
    text = json.dumps(spec(), indent=0)  # JSON is YAML; each key has a line of its own
    line = text.splitlines().index('"data": {') + 1
    data = DataSpec(**{"shape": (64,), "support": "unit", **attributes})
    with pytest.raises(SpecError) as caught:
        compose(load_spec(text, text=True), data, 100)
    (problem,) = caught.value.problems
    assert (problem.line, problem.path) == (line, "data") and "\n" not in problem.message
    assert message in problem.message and len(problem.message) < 350


def test_read_only_mappings_are_stored():
    from types import MappingProxyType

    data = DataSpec((3,), facts=MappingProxyType({"p": MappingProxyType({"n": [1]})}))
    check_storable(data)
    assert read(write_model_header(data, 1, 1)["about"])[0] == data


def raw_header(path):
    """The metadata of a safetensors file, as text."""
    with path.open("rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        return json.loads(file.read(size))["__metadata__"]


PIANO_ROLLS = ("hvrnn-jsb-1", "vrae-jsb-1", "vrnn-jsb-1")
FACTS_OF_WEIGHTS = {
    "cvae-quadrants-mnist-1": {"vaezoo-cvae": {"inpainting": True}},
    **{name: {"vaezoo-vrae": {"steps_per_beat": 1}} for name in PIANO_ROLLS},
}


VERSION_1 = [path for path in WEIGHTS if raw_header(path)["vaezoo"] == "model/v1"]


def test_there_are_weights_of_version_1():
    assert {*FACTS_OF_WEIGHTS} < {path.parent.name for path in VERSION_1}


@pytest.mark.parametrize("path", VERSION_1, ids=lambda path: path.parent.name)
def test_published_weights_of_version_1_describe_their_data(path):
    header, name = raw_header(path), path.parent.name
    old = json.loads(header["about"])
    data, train_size = read(header["about"], header["vaezoo"])
    assert train_size == old["train_size"]
    check_storable(data)
    old = old["data"]
    for same in ("support", "levels", "mask_dims", "variable_length"):
        assert getattr(data, same) == old[same]
    assert data.shape == tuple(old["shape"]) and data.classes == tuple(old["classes"])
    assert (
        data.condition_shape == old["condition_shape"]
        or list(data.condition_shape) == (old["condition_shape"])
    )
    assert data.symbols == tuple(old["symbols"])
    assert data.pixels == ("mnist" in name)
    assert data.facts == FACTS_OF_WEIGHTS.get(name, {})
    assert [(factor.name, list(factor.categories)) for factor in data.factors] == [
        (factor["name"], factor["categories"]) for factor in old["factors"]
    ]
    x = torch.randn(2, *data.shape)
    expected = x
    if old["scale"]:
        expected = x * torch.tensor(old["scale"]) + torch.tensor(old["offset"])
    torch.testing.assert_close(data.to_source_units(x), expected)
    torch.testing.assert_close(data.from_source_units(expected), x)


def test_a_header_of_version_1_is_translated_whole():
    old = {
        "shape": [4, 2],
        "support": "binary",
        "levels": 2,
        "condition_shape": [2],
        "condition_fields": [{"name": "who", "categories": ["a", "b"]}, {"name": "age"}],
        "symbols": [],
        "steps_per_beat": 8,
        "inpainting": False,
        "offset": [],
        "scale": [],
    }
    who = Field("who", "categorical", (0, 1), categories=("a", "b"))
    assert read(json.dumps({"data": old, "train_size": 5}), "model/v1") == (
        DataSpec(
            (4, 2),
            "binary",
            2,
            condition_shape=(2,),
            condition_fields=(who, Field("age", "numeric", (1, 2))),
            facts={"vaezoo-vrae": {"steps_per_beat": 8}},
        ),
        5,
    )


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("a", "text", (0, 1)), {}, "field 'a': kind is one of numeric, integer, count, binary"),
        (("a", "numeric", (1, 1)), {}, r"field 'a': columns \(1, 1\) are no range"),
        (("a", "numeric", (-1, 1)), {}, r"field 'a': columns \(-1, 1\) are no range"),
        (("a", "count", (0, 1)), {"categories": ("x",)}, "count fields have no categories"),
        (("a", "ordinal", (0, 1)), {}, "field 'a': ordinal fields need categories"),
        (("a", "categorical", (0, 1)), {}, "categorical fields need categories"),
        (
            ("a", "categorical", (0, 2)),
            {"categories": ("x", "y", "z")},
            "field 'a': 3 categories take 1 column, or one each, not 2",
        ),
        (("a", "numeric", (0, 1)), {"scale": 0.0}, "offset and scale are finite, scale is not 0"),
        (("a", "numeric", (0, 1)), {"scale": float("inf")}, "offset and scale are finite"),
        (("a", "numeric", (0, 1)), {"offset": float("nan")}, "offset and scale are finite"),
    ],
)
def test_a_field_that_contradicts_itself_is_refused(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        Field(*arguments, **options)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        (
            {"support": "text"},
            "unknown support 'text'; use one of binary, unit, .*, or plugin:wor",
        ),
        ({"support": "a: b"}, "unknown support 'a: b'"),
        ({"support": "a:b:c"}, "unknown support 'a:b:c'"),
        ({"extras": {"a b": ()}}, "'a b' is no name: use letters, digits, '-' and '_'"),
        ({"parts": {"1st": DataSpec((1,))}, "support": "joint", "shape": ()}, "'1st' is no name"),
        ({"fields": (AGE, replace(AGE, columns=(1, 2)))}, "two fields are named 'age'"),
        ({"fields": (AGE, replace(AGE, name="b"))}, "columns .* overlap with another's"),
        ({"fields": (replace(AGE, columns=(2, 4)),)}, "lie outside of the 3 columns"),
        ({"shape": (), "fields": (AGE,)}, "lie outside of the 0 columns"),
        ({"condition_fields": (AGE,)}, "lie outside of the 0 columns"),
        ({"condition_fields": (AGE,), "condition_shape": ()}, "lie outside of the 0 columns"),
        ({"factors": (replace(AGE, columns=(1, 2)),)}, "lie outside of the 1 columns"),
        ({"support": "joint", "shape": ()}, "several parts has the shape .* and the support join"),
        ({"parts": {"a": DataSpec((1,))}, "shape": ()}, "and the support joint"),
        ({"parts": {"a": DataSpec((1,))}, "support": "joint"}, "several parts has the shape"),
        *(
            (
                {"support": "joint", "shape": (), "parts": {"a": DataSpec(**part)}},
                "part 'a' has parts, extras, factors, conditions or a variable length",
            )
            for part in (
                {"shape": (), "support": "joint", "parts": {"b": DataSpec((1,))}},
                {"shape": (1,), "extras": {"w": ()}},
                {"shape": (1,), "factors": (AGE,)},
                {"shape": (1,), "condition_shape": ()},
                {"shape": (1,), "variable_length": True},
            )
        ),
    ],
)
def test_a_description_that_contradicts_itself_is_refused(attributes, message):
    with pytest.raises(ValueError, match=message):
        DataSpec(**{"shape": (3,), **attributes})


def test_each_part_has_units_of_its_own():
    table = DataSpec((2,), fields=(Field("kg", "numeric", (1, 2), offset=70.0, scale=10.0),))
    data = DataSpec((), "joint", parts={"table": table, "image": DataSpec((1, 2, 2), "unit")})
    x = {"table": torch.tensor([[1.0, 2.0]]), "image": torch.rand(1, 1, 2, 2)}
    source = data.to_source_units(x)
    assert source["table"].tolist() == [[1.0, 90.0]] and torch.equal(source["image"], x["image"])
    back = data.from_source_units(source)
    assert all(torch.equal(back[name], x[name]) for name in x)
    assert data.dimensions == 6


@pytest.mark.parametrize(
    ("key", "value"),
    [("mask_dims", "0"), ("levels", False), ("pixels", "true"), ("shape", [1.0, 8, 8])],
)
def test_no_value_of_a_header_changes_its_type(key, value):
    about = {**to_json(DataSpec(shape=(1, 8, 8), support="unit")), key: value}
    with pytest.raises(ValueError, match=f"data.{key}.* has the type of another value"):
        from_json(about)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"shape": (3, 0)}, r"shape \(3, 0\): each size must be at least 1"),
        ({"shape": (-1,)}, "shape"),
        ({"condition_shape": (0,)}, "condition_shape"),
        ({"extras": {"weight": (0,)}}, "weight"),
        ({"mask_dims": -1}, "mask_dims -1: must be from 0 to 2"),
        ({"mask_dims": 3}, "mask_dims 3: must be from 0 to 2"),
    ],
    ids=str,
)
def test_data_without_numbers_and_masks_beyond_them_are_no_data(wrong, says):
    with pytest.raises(ValueError, match=says):
        DataSpec(**{"shape": (3, 2), **wrong})
