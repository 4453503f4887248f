"""How the types of what is read back of a run's JSON files are checked."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from vaezoo.spec.messages import first_fault
from vaezoo.utils.errors import one_line, shorten

STRICT = ConfigDict(strict=True, extra="allow")
"""No value is converted; keys that are not known are those of later versions."""


def check_types(model: type[BaseModel], values: dict[str, Any]) -> dict[str, Any]:
    """The content of a file, as it was read; ValueError if a type is wrong."""
    try:
        model.model_validate(values)
    except ValidationError as error:
        place, fault = first_fault(error, model)
        raise ValueError(f"{shorten(one_line(place))}: {fault}") from None
    return values
