"""The metadata of a model file: a description of the data that the model was trained on."""

from __future__ import annotations

import json
from collections.abc import Mapping

from pydantic import TypeAdapter, ValidationError

from vaezoo.data.dataspec import DataSpec
from vaezoo.utils.errors import IntegrityError, one_line


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
        description = json.loads(metadata["about"])
        data = TypeAdapter(DataSpec).validate_python(description["data"])
        return data, int(description["train_size"])
    except (AttributeError, KeyError, ValueError, TypeError) as error:
        raise IntegrityError(
            f"{source}: its header does not describe a vaezoo model of this version: "
            f"{_reason(error)}"
        ) from error


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"no key {error}"
    if not isinstance(error, ValidationError):
        return one_line(error)
    first = error.errors()[0]
    is_unknown = first["type"] == "unexpected_keyword_argument"
    path = ".".join(map(str, ("data", *first["loc"])))
    return f"{path}: {'unknown key' if is_unknown else first['msg']}"
