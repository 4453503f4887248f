"""The metadata of a model file: a description of the data that the model was trained on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from vaezoo.data.dataspec import DataSpec
from vaezoo.data.description import from_json, to_json, translate_version_1
from vaezoo.utils.errors import IntegrityError, one_line, printable, shorten

_MAX_EXAMPLES = 2**48
_FORMAT, _FORMAT_1 = "model/v2", "model/v1"


def write_model_header(data: DataSpec, train_size: int, step: int) -> dict[str, str]:
    """The metadata of a model file.

    Args:
        data: describes the data that the model was trained on.
        train_size: the number of training examples.
        step: the training step of the weights.
    """
    about = {"data": to_json(data), "train_size": train_size, "step": step}
    return {"vaezoo": _FORMAT, "about": json.dumps(about, allow_nan=False)}


def read_model_header(metadata: Mapping[str, str], source: str) -> tuple[DataSpec, int]:
    """Reads the data specification and the training split's size from a model file's metadata.

    Args:
        metadata: the metadata of a safetensors file.
        source: the file or the weights it belongs to, for messages.

    Returns:
        The data specification and the number of training examples.

    Raises:
        IntegrityError: the metadata does not describe a vaezoo model.
    """
    try:
        description = json.loads(metadata["about"], parse_constant=_refuse_constant)
        file_format = metadata.get("vaezoo", _FORMAT)
        if file_format not in (_FORMAT, _FORMAT_1):
            raise ValueError(f"its format is {file_format}, not {_FORMAT}; upgrade vaezoo")
        data = description["data"]
        if file_format == _FORMAT_1:
            data = translate_version_1(data)
        return from_json(data), _count(description["train_size"])
    except (AttributeError, KeyError, ValueError, TypeError, RecursionError) as error:
        raise IntegrityError(
            f"{source}: its header does not describe a vaezoo model of this version: "
            f"{_reason(error)}"
        ) from error


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number that JSON has")


def _count(train_size: Any) -> int:
    """The number of training examples, which is a whole number above 0."""
    if type(train_size) is not int or not 0 < train_size < _MAX_EXAMPLES:
        raise ValueError(f"train_size: must be a number of examples, not {train_size!r:.40}")
    return train_size


def _reason(error: Exception) -> str:
    """Why a header describes no model, on one printable line."""
    return printable(_raw_reason(error))


def _raw_reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"no key {shorten(str(error))}"
    if not isinstance(error, ValidationError):
        return shorten(one_line(error), 1000)
    first = error.errors()[0]
    is_unknown = first["type"] == "unexpected_keyword_argument"
    path = shorten(".".join(map(str, ("data", *first["loc"]))))
    return f"{path}: {'unknown key' if is_unknown else shorten(first['msg'], 1000)}"
