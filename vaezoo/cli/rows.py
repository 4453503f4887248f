"""Files with a row for each example: what names it, and what a command found out."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vaezoo.cli.output import SCHEMA_VERSION
from vaezoo.utils.errors import UsageError


def check_rows_file(out: Path, *others: str) -> None:
    """Raises UsageError if a file ends neither in .csv or .json nor in one of the others."""
    endings = (*others, ".csv", ".json")
    if out.suffix not in endings:
        listed = f"{', '.join(endings[:-1])} or {endings[-1]}"
        raise UsageError(f"{out}: the file must end in {listed}")


def to_records(columns: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """A mapping for each row of a table that is given by its columns."""
    rows = zip(*columns.values(), strict=True)
    return [dict(zip(columns, row, strict=True)) for row in rows]


def write_rows(out: Path, columns: Mapping[str, Sequence[Any]]) -> None:
    """Writes a .csv file, or a .json file with ``rows``.

    Numbers that are not finite are empty cells, or null.
    """
    from vaezoo.utils.files import atomic_write, write_text
    from vaezoo.utils.json_text import json_text

    if out.suffix == ".json":
        document = {"schema_version": SCHEMA_VERSION, "rows": to_records(columns)}
        write_text(out, json_text(document, indent=2) + "\n")
        return
    with (
        atomic_write(out) as temporary,
        open(temporary, "w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(columns)
        for row in zip(*columns.values(), strict=True):
            writer.writerow([_cell(value) for value in row])


def _cell(value: Any) -> Any:
    """A value as a cell: empty if it is None or a number that is not finite."""
    is_number = value is not None and not (isinstance(value, float) and not math.isfinite(value))
    return value if is_number else ""
