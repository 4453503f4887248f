"""The text of JSON that any reader accepts."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any


def json_text(value: Any, *, indent: int | None = None) -> str:
    """The JSON of a value; numbers that are NaN or infinite, which JSON lacks, become null.

    Bytes of file names that are no text are escaped.
    """
    return json.dumps(_with_nulls(value), indent=indent, ensure_ascii=False, allow_nan=False)


def _with_nulls(value: Any) -> Any:
    """JSON values with None in place of numbers that are not finite, and only text in texts."""
    if isinstance(value, Mapping):
        return {_with_nulls(key): _with_nulls(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_with_nulls(item) for item in value]
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    return None if isinstance(value, float) and not math.isfinite(value) else value
