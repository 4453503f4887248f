"""Safetensors out of bytes that nobody vouches for: everything is checked before a tensor is made."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from vaezoo.utils.errors import RegistryError

MAX_HEADER = 1_000_000
MAX_TENSORS = 10_000
_MAX_DIMENSIONS = 16
_DTYPES = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "I16": torch.int16,
    "I32": torch.int32,
    "I64": torch.int64,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}


def tensors(data: bytearray, origin: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a safetensors file, which share the memory of ``data``, and its metadata.

    Raises:
        RegistryError: the header is too large, not JSON, names a key twice, or its dtypes, shapes and offsets are not
            those of a file without gaps.
    """
    table, metadata, start = _header(data, origin)
    found = {}
    for name, (dtype, shape, begin, end) in table.items():
        if begin == end:
            found[name] = torch.empty(shape, dtype=dtype)
            continue
        flat = torch.frombuffer(data, dtype=dtype, count=math.prod(shape), offset=start + begin)
        aligned = (start + begin) % dtype.itemsize == 0
        found[name] = (flat if aligned else flat.clone()).view(shape)
    return found, metadata


def fingerprint(found: Mapping[str, Tensor]) -> str:
    """The sha256 of names, dtypes and shapes, a line to a tensor, sorted by name."""
    return table_hash((name, _NAMES[tensor.dtype], tuple(tensor.shape)) for name, tensor in found.items())


def table_hash(rows: Iterable[tuple[str, str, tuple[int, ...]]]) -> str:
    """The sha256 of rows of name, dtype and shape."""
    lines = [f"{name}\t{dtype}\t{','.join(map(str, shape))}\n" for name, dtype, shape in sorted(rows)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


Row = tuple[torch.dtype, tuple[int, ...], int, int]


def _header(data: bytearray, origin: str) -> tuple[dict[str, Row], dict[str, str], int]:
    """Each tensor's dtype, shape and place, the metadata, and where the numbers begin."""

    def refuse(reason: str) -> RegistryError:
        return RegistryError(f"{origin}: not a sound safetensors file: {reason}")

    if len(data) < 8:
        raise refuse(f"{len(data)} bytes are too few")
    length = int.from_bytes(data[:8], "little")
    if length > MAX_HEADER:
        raise refuse(f"a header of {length:,} bytes; at most {MAX_HEADER:,} are read")
    if 8 + length > len(data):
        raise refuse(f"a header of {length:,} bytes in a file of {len(data):,}")
    try:
        header = json.loads(bytes(data[8 : 8 + length]).decode("utf-8"), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise refuse(f"its header is not JSON: {error}") from None
    if not isinstance(header, dict):
        raise refuse("its header is not an object")
    metadata = header.pop("__metadata__", {})
    if not (isinstance(metadata, dict) and all(isinstance(value, str) for value in metadata.values())):
        raise refuse("its metadata is not text")
    if len(header) > MAX_TENSORS:
        raise refuse(f"{len(header):,} tensors; at most {MAX_TENSORS:,} are read")
    try:
        "".join([*metadata, *metadata.values()]).encode()  # JSON can hold halves of surrogate pairs
        table = {name: _row(name, info) for name, info in header.items()}
        _cover(table, len(data) - 8 - length)
    except ValueError as error:
        raise refuse(str(error)) from None
    return table, metadata, 8 + length


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"key {key[:80]!r} is given twice")
        found[key] = value
    return found


def _row(name: str, info: Any) -> Row:
    """One line of the table; ValueError where it makes no sense."""
    shown = repr(name[:80])
    if not name.isprintable():
        raise ValueError(f"tensor {shown} has a name that is not printable")
    if not isinstance(info, dict) or info.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"tensor {shown} has not just dtype, shape and data_offsets")
    dtype, shape, offsets = info["dtype"], info["shape"], info["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise ValueError(f"tensor {shown} has the unknown dtype {str(dtype)[:20]!r}")
    for numbers in (shape, offsets):
        if not isinstance(numbers, list) or any(type(n) is not int or not 0 <= n < 2**48 for n in numbers):
            raise ValueError(f"tensor {shown} has sizes or offsets that are not sane")
    if len(shape) > _MAX_DIMENSIONS or len(offsets) != 2:
        raise ValueError(f"tensor {shown} has {len(shape)} dimensions and {len(offsets)} offsets")
    if math.prod(max(size, 1) for size in shape) >= 2**48:  # torch multiplies the sizes of an empty tensor, too
        raise ValueError(f"tensor {shown} has the shape {tuple(shape)}, which is not sane")
    begin, end = offsets
    if end - begin != math.prod(shape) * _DTYPES[dtype].itemsize:
        raise ValueError(f"tensor {shown} of shape {tuple(shape)} and dtype {dtype} has {end - begin} bytes")
    return _DTYPES[dtype], tuple(shape), begin, end


def _cover(table: Mapping[str, Row], size: int) -> None:
    """That the tensors fill the file, one after another, and nothing lies between them."""
    reached = 0
    for name, (_, _, begin, end) in sorted(table.items(), key=lambda item: item[1][2:]):
        if begin != reached:
            raise ValueError(f"tensor {name[:80]!r} begins at {begin} where {reached} was reached")
        reached = end
    if reached != size:
        raise ValueError(f"its tensors end at byte {reached}, its numbers at {size}")
