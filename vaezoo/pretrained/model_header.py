"""The metadata of a model file: a description of the data that the model was trained on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields

from pydantic import TypeAdapter

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
        unknown = description["data"].keys() - {field.name for field in fields(DataSpec)}
        if unknown:  # pydantic would drop them, and with them a property of the data
            raise ValueError(f"unknown keys {', '.join(sorted(unknown))}")
        data = TypeAdapter(DataSpec).validate_python(description["data"])
        return data, int(description["train_size"])
    except (AttributeError, KeyError, ValueError, TypeError) as error:
        reason = f"no key {error}" if isinstance(error, KeyError) else one_line(error)
        raise IntegrityError(
            f"{source}: its header does not describe a vaezoo model of this version: {reason}"
        ) from error
