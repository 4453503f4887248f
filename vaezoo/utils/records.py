"""The records of ``metrics.jsonl``: a JSON object with a digest on each line."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from vaezoo.utils.digests import add_digest, parse_with_digest
from vaezoo.utils.json_text import json_text
from vaezoo.utils.reading import check_regular

_TEXTS = ("split", "stage", "time")
"""The keys whose values are texts; all others are numbers."""
_MAX_INTEGER = 2**63


def record_line(record: Mapping[str, Any]) -> str:
    """The line of a record; a number that is not finite is null in it."""
    return add_digest(json_text(record)) + "\n"


def read_records(path: Path) -> list[dict[str, Any]]:
    """Reads the records of a file; empty if there is none.

    Lines that are no records, or were changed after they were written, are left out with a
    warning. A last line that a kill left incomplete is left out without one. Numbers that are not
    finite are null in the file, and NaN in the records. Files of earlier versions have no digests.
    """
    if not path.exists():
        return []
    try:
        check_regular(path)
    except OSError as error:
        warnings.warn(f"{path}: {error.strerror}, and left out", stacklevel=2)
        return []
    count, read = _read_lines(path)
    if any(has_digest for _, has_digest in read.values()):
        read = {number: each for number, each in read.items() if each[1]}
    if odd := [number for number in range(1, count + 1) if number not in read]:
        which = f"line {odd[0]} is" if len(odd) == 1 else f"{len(odd)} lines, first {odd[0]}, are"
        warnings.warn(
            f"{path}: {which} damaged or no record, and left out; the weights do not depend on it",
            stacklevel=2,
        )
    return [record for record, _ in read.values()]


def _read_lines(path: Path) -> tuple[int, dict[int, tuple[dict[str, Any], bool]]]:
    """How many lines a file has; by number those that are records, and whether each has a digest.

    A last line without its end is none, unless it is a whole record.
    """
    count, read = 0, {}
    with open(path, "rb") as file:
        for line in file:
            if not line.endswith(b"\n") and b'"digest": "' not in line:
                break
            count += 1
            with suppress(ValueError):
                read[count] = _parse(line.removesuffix(b"\n"))
    return count, read


def _check_position(record: Mapping[str, Any]) -> None:
    """Raises ValueError unless a record says of what it is as every one does that is written."""
    if not ({"step", "split", "epoch", "time"} <= record.keys()) or record["epoch"] is None:
        raise ValueError("has no step, split, epoch or time")
    numbers = ["step", *(["stage_step"] if "stage" in record else [])]
    if not all(type(record.get(key)) is int and record[key] >= 0 for key in numbers):
        raise ValueError(f"has another type at {' or '.join(numbers)}")
    if type(record["epoch"]) not in (int, float) or not math.isfinite(record["epoch"]):
        raise ValueError("has another type at epoch")
    if record["split"] == "validation" and type(record.get("best")) is not bool:
        raise ValueError("does not say whether it is the best")
    if not isinstance(record["time"], str) or not datetime.fromisoformat(record["time"]).tzinfo:
        raise ValueError("has another type at time")


def _parse(line: bytes) -> tuple[dict[str, Any], bool]:
    """The record of a line, and whether it has a digest; ValueError if it is no record."""
    record, has_digest = parse_with_digest(line.decode("utf-8"))
    for key, value in record.items():
        f"{key}{value}".encode()  # UnicodeEncodeError, a ValueError: half of a surrogate pair
        if (key in _TEXTS) != isinstance(value, str):
            raise ValueError(f"has another type at {key}")
        if not (value is None or isinstance(value, str | int | float)):
            raise ValueError(f"has another type at {key}")
        if isinstance(value, int) and not -_MAX_INTEGER <= value < _MAX_INTEGER:
            raise ValueError(f"has a number out of range at {key}")
    _check_position(record)
    return {key: _finite_or_nan(value) for key, value in record.items()}, has_digest


def _finite_or_nan(value: Any) -> Any:
    """A value of a record; NaN for null, and for 1e999, which is written as null again."""
    is_infinite = isinstance(value, float) and math.isinf(value)
    return math.nan if value is None or is_infinite else value
