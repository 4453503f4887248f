"""Safetensors from strangers: whatever the bytes, tensors or a RegistryError."""

from __future__ import annotations

import json
from collections import Counter
from unittest import mock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load as reference
from safetensors.torch import save

from vaezoo.pretrained import safetensors_header
from vaezoo.utils.errors import RegistryError

TENSORS = {
    "a.weight": torch.arange(6.0).view(2, 3),
    "b": torch.tensor([True, False]),
    "empty": torch.zeros(0, 4),
}


def packed(table, numbers=b""):
    text = (table if isinstance(table, str) else json.dumps(table)).encode()
    return bytearray(len(text).to_bytes(8, "little") + text + numbers)


def one(**changes):
    return {"x": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **changes}}


def test_it_reads_what_safetensors_wrote_without_a_copy():
    data = bytearray(save(TENSORS, {"about": "me"}))
    result, metadata = safetensors_header.parse_tensors(data, "here")
    expected = reference(bytes(data))
    assert metadata == {"about": "me"} and result.keys() == expected.keys()
    assert all(torch.equal(result[name], expected[name]) for name in expected)
    result["a.weight"][0, 0] = 7.0  # writing through the tensor changes the bytes
    assert not torch.equal(
        safetensors_header.parse_tensors(data, "here")[0]["a.weight"], expected["a.weight"]
    )


@pytest.mark.parametrize("shift", range(1, 4))
def test_a_tensor_that_is_not_aligned_is_still_right(shift):
    table = '{"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}' + " " * shift
    result, _ = safetensors_header.parse_tensors(
        packed(table, torch.tensor([1.5, -2.0]).numpy().tobytes()), "here"
    )
    assert result["x"].tolist() == [1.5, -2.0] and result["x"].data_ptr() % 4 == 0


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (bytearray(b"1234567"), "too few"),
        (bytearray((100_000_000).to_bytes(8, "little") + b"{}"), "100,000,000 bytes; at most"),
        (bytearray((50).to_bytes(8, "little") + b"{}"), "50 bytes, but the file has only 10"),
        (packed("[1]"), "not an object"),
        (packed("{"), "not JSON"),
        (packed("[" * 100_000), "not JSON"),
        (packed('{"x": 1, "x": 2}'), "'x' is given twice"),
        (packed(json.dumps(one())[:-1] + ', "x": 1}', bytes(8)), "'x' is given twice"),
        (packed({"__metadata__": {"a": 1}}), "metadata is not text"),
        (packed({f"t{i}": 0 for i in range(10_001)}), "10,001 tensors"),
        (packed({"x": 1}), "exactly the keys dtype, shape and data_offsets"),
        (packed(one(extra=1), bytes(8)), "exactly the keys dtype"),
        (packed(one(dtype="F999"), bytes(8)), "unknown dtype 'F999'"),
        (packed(one(dtype=[]), bytes(8)), "unknown dtype"),
        (packed(one(shape=[-2]), bytes(8)), "invalid sizes or offsets"),
        (packed(one(shape=[2.0]), bytes(8)), "invalid sizes or offsets"),
        (packed(one(shape=[True]), bytes(8)), "invalid sizes or offsets"),
        (packed(one(shape=[2**60]), bytes(8)), "invalid sizes or offsets"),
        (packed(one(shape=[1] * 17), bytes(8)), "17 dimensions"),
        (packed(one(shape=[0, 2**47, 2**47], data_offsets=[0, 0])), "which is too large"),
        (packed({"a\tb": one()["x"]}, bytes(8)), "not printable"),
        (
            packed(
                '{"\\ud800": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}', bytes(8)
            ),
            "not printable",
        ),
        (packed('{"__metadata__": {"a": "\\ud800"}}'), "surrogates"),
        (packed(one(data_offsets=[0]), bytes(8)), "1 offsets"),
        (packed(one(data_offsets=[0, 12]), bytes(12)), "has 12 bytes"),
        (packed(one(data_offsets=[8, 0]), bytes(8)), "has -8 bytes"),
        (packed(one(data_offsets=[4, 12]), bytes(12)), "begins at byte 4, expected 0"),
        (packed(one(), bytes(4)), "its tensors end at byte 8, its data at byte 4"),
        (packed(one(), bytes(9)), "its tensors end at byte 8, its data at byte 9"),
        (packed(one() | {"y": one()["x"]}, bytes(8)), "begins at byte 0, expected 8"),
    ],
)
def test_what_is_not_sound_is_refused_with_the_reason(data, says):
    with pytest.raises(RegistryError, match=says) as caught:
        safetensors_header.parse_tensors(data, "file.safetensors")
    assert str(caught.value).startswith("file.safetensors: not a valid safetensors file")
    assert "\n" not in str(caught.value)


def test_the_table_tells_names_dtypes_and_shapes_apart():
    base = safetensors_header.fingerprint(TENSORS)
    assert base == safetensors_header.fingerprint(dict(reversed(TENSORS.items())))
    renamed = {("c" if name == "b" else name): tensor for name, tensor in TENSORS.items()}
    reshaped = TENSORS | {"a.weight": TENSORS["a.weight"].view(3, 2)}
    retyped = TENSORS | {"a.weight": TENSORS["a.weight"].half()}
    assert (
        len(
            {
                base,
                *(safetensors_header.fingerprint(other) for other in (renamed, reshaped, retyped)),
            }
        )
        == 4
    )


NUMBERS = (
    st.integers(-3, 20)
    | st.integers()
    | st.floats()
    | st.booleans()
    | st.none()
    | st.text(max_size=3)
)
ROWS = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "F16", "BOOL", "I64"]) | NUMBERS,
        "shape": st.lists(NUMBERS, max_size=4),
        "data_offsets": st.lists(NUMBERS, max_size=3),
    }
)
NAMES = st.text(st.characters(), max_size=5)  # halves of surrogate pairs, too, which JSON can hold
TABLES = st.dictionaries(NAMES, ROWS | NUMBERS | st.lists(NUMBERS), max_size=4)


def counted(calls, owner, name):
    """Replaces a function by one that also counts its calls."""
    function = getattr(owner, name)

    def counting(*args, **kwargs):
        calls[name] += 1
        return function(*args, **kwargs)

    return mock.patch.object(owner, name, counting)


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=200),
        st.builds(lambda table, tail: bytes(packed(table, tail)), TABLES, st.binary(max_size=64)),
        st.builds(
            lambda place, value: (
                bytes(save(TENSORS))[:place] + bytes([value]) + bytes(save(TENSORS))[place + 1 :]
            ),
            st.integers(0, 200),
            st.integers(0, 255),
        ),
    )
)
def test_any_bytes_give_tensors_or_a_registry_error_before_any_tensor(data):
    data, calls = bytearray(data), Counter()
    with counted(calls, torch, "frombuffer"), counted(calls, torch, "empty"):
        try:
            tensors, _ = safetensors_header.parse_tensors(data, "fuzz")
        except RegistryError:
            assert calls.total() == 0, "a tensor was created from a header that is not valid"
            return
    assert calls.total() == len(tensors)
    assert sum(tensor.nbytes for tensor in tensors.values()) <= len(data)
    safetensors_header.fingerprint(tensors)


@pytest.mark.parametrize("length", [safetensors_header.MAX_HEADER + 1, 2**63, 2**64 - 1])
def test_a_header_that_is_too_large_is_not_parsed(length):
    calls = Counter()
    with counted(calls, json, "loads"), pytest.raises(RegistryError, match="at most"):
        safetensors_header.parse_tensors(
            bytearray(length.to_bytes(8, "little")) + b" " * 2_000_000, "large"
        )
    assert not calls


def test_a_table_with_too_many_tensors_is_refused_before_its_rows_are_parsed():
    data, calls = (
        packed({f"t{i}": 0 for i in range(safetensors_header.MAX_TENSORS + 1)}),
        Counter(),
    )
    with (
        counted(calls, safetensors_header, "_parse_row"),
        pytest.raises(RegistryError, match="at most"),
    ):
        safetensors_header.parse_tensors(data, "long")
    assert not calls
