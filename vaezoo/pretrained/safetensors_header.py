"""Parser for untrusted safetensors files: checks the header before it creates any tensor."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from vaezoo.utils.errors import RegistryError

MAX_HEADER = 1_000_000
"""Largest header that is parsed, in bytes."""
MAX_TENSORS = 10_000
_MAX_DIMENSIONS = 16
_MAX_NUMBER = 2**48
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
_DTYPE_NAMES = {dtype: name for name, dtype in _DTYPES.items()}

TensorRow = tuple[torch.dtype, tuple[int, ...], int, int]
"""Dtype, shape, and the begin and end offsets of a tensor's data, in bytes after the header."""


def parse_tensors(data: bytearray, origin: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Parses a safetensors file.

    Args:
        data: the bytes of the file. Tensors share this memory unless their data is not aligned.
        origin: the file or the weights, for messages.

    Returns:
        The tensors by name, and the metadata.

    Raises:
        RegistryError: the header is too large, is not JSON, has a key twice, or its dtypes,
            shapes and offsets do not describe a file without gaps.
    """
    table, metadata, start = _parse_header(data, origin)
    tensors = {}
    for name, (dtype, shape, begin, end) in table.items():
        if begin == end:
            tensors[name] = torch.empty(shape, dtype=dtype)
            continue
        flat = torch.frombuffer(data, dtype=dtype, count=math.prod(shape), offset=start + begin)
        is_aligned = (start + begin) % dtype.itemsize == 0
        tensors[name] = (flat if is_aligned else flat.clone()).view(shape)  # [*shape] from [numel]
    return tensors, metadata


def fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """The SHA-256 of one line of name, dtype and shape for each tensor, sorted by name."""
    rows = sorted(
        (name, _DTYPE_NAMES[tensor.dtype], tuple(tensor.shape)) for name, tensor in tensors.items()
    )
    lines = [f"{name}\t{dtype}\t{','.join(map(str, shape))}\n" for name, dtype, shape in rows]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _parse_header(
    data: bytearray, origin: str
) -> tuple[dict[str, TensorRow], dict[str, str], int]:
    """The row of each tensor by name, the metadata, and the byte at which tensor data begins."""

    def refuse(reason: str) -> RegistryError:
        return RegistryError(f"{origin}: not a valid safetensors file: {reason}")

    if len(data) < 8:
        raise refuse(f"{len(data)} bytes are too few")
    length = int.from_bytes(data[:8], "little")
    if length > MAX_HEADER:
        raise refuse(f"its header has {length:,} bytes; at most {MAX_HEADER:,} are allowed")
    if 8 + length > len(data):
        raise refuse(f"its header has {length:,} bytes, but the file has only {len(data):,}")
    try:
        header = json.loads(
            bytes(data[8 : 8 + length]).decode("utf-8"), object_pairs_hook=_unique_keys
        )
    except (ValueError, RecursionError) as error:
        raise refuse(f"its header is not JSON: {error}") from None
    if not isinstance(header, dict):
        raise refuse("its header is not an object")
    metadata = header.pop("__metadata__", {})
    if not (
        isinstance(metadata, dict) and all(isinstance(value, str) for value in metadata.values())
    ):
        raise refuse("its metadata is not text")
    if len(header) > MAX_TENSORS:
        raise refuse(f"it has {len(header):,} tensors; at most {MAX_TENSORS:,} are allowed")
    try:
        "".join(
            [*metadata, *metadata.values()]
        ).encode()  # fails on halves of surrogate pairs, which JSON allows
        table = {name: _parse_row(name, info) for name, info in header.items()}
        _check_coverage(table, len(data) - 8 - length)
    except ValueError as error:
        raise refuse(str(error)) from None
    return table, metadata, 8 + length


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A dict from the pairs of a JSON object; ValueError if a key occurs twice."""
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise ValueError(f"key {key[:80]!r} is given twice")
        result[key] = value
    return result


def _parse_row(name: str, info: Any) -> TensorRow:
    """The row of one tensor; ValueError if it is not valid."""
    label = f"tensor {name[:80]!r}"
    if not name.isprintable():
        raise ValueError(f"{label} has a name that is not printable")
    if not isinstance(info, dict) or info.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"{label} must have exactly the keys dtype, shape and data_offsets")
    dtype, shape, offsets = info["dtype"], info["shape"], info["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise ValueError(f"{label} has the unknown dtype {str(dtype)[:20]!r}")
    for numbers in (shape, offsets):
        if not isinstance(numbers, list) or any(
            type(n) is not int or not 0 <= n < _MAX_NUMBER for n in numbers
        ):
            raise ValueError(f"{label} has invalid sizes or offsets")
    if len(shape) > _MAX_DIMENSIONS or len(offsets) != 2:
        raise ValueError(f"{label} has {len(shape)} dimensions and {len(offsets)} offsets")
    if (
        math.prod(max(size, 1) for size in shape) >= _MAX_NUMBER
    ):  # torch multiplies the sizes of empty tensors, too
        raise ValueError(f"{label} has the shape {tuple(shape)}, which is too large")
    begin, end = offsets
    if end - begin != math.prod(shape) * _DTYPES[dtype].itemsize:
        raise ValueError(
            f"{label} of shape {tuple(shape)} and dtype {dtype} has {end - begin} bytes"
        )
    return _DTYPES[dtype], tuple(shape), begin, end


def _check_coverage(table: Mapping[str, TensorRow], size: int) -> None:
    """Raises ValueError unless the tensors cover ``size`` bytes of data without gap or overlap."""
    covered = 0
    for name, (_, _, begin, end) in sorted(table.items(), key=lambda item: item[1][2:]):
        if begin != covered:
            raise ValueError(f"tensor {name[:80]!r} begins at byte {begin}, expected {covered}")
        covered = end
    if covered != size:
        raise ValueError(f"its tensors end at byte {covered}, its data at byte {size}")
