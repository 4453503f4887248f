"""The description of data as JSON, as it stands in the header of weights."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from vaezoo.data.dataspec import DataSpec


def to_json(data: DataSpec) -> dict[str, Any]:
    """The description as JSON values."""
    return {field.name: _plain(getattr(data, field.name)) for field in fields(data)}


def _plain(value: Any) -> Any:
    """A value with dicts in place of dataclasses and of other mappings."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def from_json(description: Any) -> DataSpec:
    """Reads what ``to_json`` wrote.

    Raises:
        ValueError: it describes no data; pydantic's ``ValidationError`` names the key.
    """
    data = _reader().validate_python(description)
    _check_types(description, to_json(data), "data")
    return data


def _check_types(written: Any, read: Any, path: str) -> None:
    """Raises ValueError if a value has changed its type: '1' is no number, and 0 is not false."""
    if isinstance(written, Mapping):
        for key, item in written.items():
            _check_types(item, read[key], f"{path}.{key}")
    elif isinstance(written, list | tuple):
        for index, (item, kept) in enumerate(zip(written, read, strict=True)):
            _check_types(item, kept, f"{path}.{index}")
    elif type(written) is not type(read) and (type(written), type(read)) != (int, float):
        raise ValueError(f"{path}: {written!r:.40} has the type of another value")


@cache
def _reader() -> TypeAdapter[DataSpec]:
    return TypeAdapter(DataSpec)


def check_storable(data: DataSpec) -> None:
    """Checks that a description is the same after it was written and read.

    Raises:
        ValueError: it is not; names the attribute.
    """
    values = to_json(data)
    for name, value in values.items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{name} cannot be stored with weights: {error}") from error
    try:
        read = from_json(json.loads(json.dumps(values, allow_nan=False)))
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    for field in fields(data):
        before, after = getattr(data, field.name), getattr(read, field.name)
        if before != after:
            raise ValueError(
                f"{field.name} is {before!r:.100}, but reads {after!r:.100} once stored"
            )


def translate_version_1(description: Mapping[str, Any]) -> dict[str, Any]:
    """A description in headers ``model/v1``, which had no fields and no facts of plugins.

    Raises:
        KeyError: it has no shape.
    """
    new = dict(description)
    symbols, steps_per_beat = new.pop("symbols", ()), new.pop("steps_per_beat", 4)
    inpainting, factors = new.pop("inpainting", False), new.get("factors", ())
    offset, scale = new.pop("offset", ()), new.pop("scale", ())
    shape, support = new["shape"], new.get("support", "real")
    is_image = len(shape) == 3 and support == "binary" and not factors
    new["pixels"] = support == "unit" or is_image
    new["facts"] = {}
    if inpainting:
        new["facts"]["vaezoo-cvae"] = {"inpainting": True}
    if support == "binary" and len(shape) == 2:  # a piano roll
        new["facts"]["vaezoo-vrae"] = {"steps_per_beat": steps_per_beat}
    for key in ("condition_fields", "factors"):
        new[key] = [_typed(i, field) for i, field in enumerate(new.get(key, ()))]
    new["fields"] = [
        {"name": str(i), "kind": "numeric", "columns": (i, i + 1), "offset": o, "scale": s}
        for i, (o, s) in enumerate(zip(offset, scale, strict=True))
    ]
    if symbols:
        new["fields"] = [_symbol_field(symbols)]
    return new


def _typed(index: int, field: Mapping[str, Any]) -> dict[str, Any]:
    kind = "categorical" if field.get("categories") else "numeric"
    return {"kind": kind, "columns": (index, index + 1), **field}


def _symbol_field(symbols: Sequence[str]) -> dict[str, Any]:
    """The only field of one-hot data."""
    return {
        "name": "symbol",
        "kind": "categorical",
        "columns": (0, len(symbols)),
        "categories": symbols,
    }
