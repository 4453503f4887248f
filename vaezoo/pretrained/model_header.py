"""What the header of a model file says."""

from __future__ import annotations

import json
from collections.abc import Mapping

from pydantic import TypeAdapter

from vaezoo.data.dataspec import DataSpec
from vaezoo.utils.errors import IntegrityError


def read_model_header(metadata: Mapping[str, str], source: str) -> tuple[DataSpec, int]:
    """What the header of a model's weights says of its data, and of how many examples it was trained on.

    Raises:
        IntegrityError: it says nothing of the kind.
    """
    try:
        about = json.loads(metadata["about"])
        return TypeAdapter(DataSpec).validate_python(about["data"]), int(about["train_size"])
    except (KeyError, ValueError, TypeError) as error:
        raise IntegrityError(f"{source}: its header does not describe a vaezoo model: {error}") from error
