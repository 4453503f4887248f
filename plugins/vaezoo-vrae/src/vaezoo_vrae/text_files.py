"""Reads the lines of text files, and of tables with a column of text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import vaezoo
from vaezoo_vrae.sources import TABLE_SUFFIXES

TEXT_SUFFIXES = frozenset({".txt", ".text"}) | TABLE_SUFFIXES
"""The endings of files of users that are read as text."""


@dataclass(frozen=True)
class Line:
    """One line of a source.

    Attributes:
        text: the line.
        label: the name of its class; None if it is not known, or without classes.
        place: what it is called in messages: its number, or the text itself.
    """

    text: str
    label: str | None
    place: str


def read_text_file(path: Path) -> tuple[list[Line], Sequence[str]]:
    """The lines of a file and, from a csv file with a column ``label``, their labels.

    Raises:
        vaezoo.DataError: the file is not UTF-8; or it is a csv file without a column ``text``,
            or a row has other cells than the header; names the line.
    """
    if path.suffix.lower() not in TABLE_SUFFIXES:
        lines = vaezoo.read_text(path).splitlines()
        return [Line(line, None, str(i)) for i, line in enumerate(lines, 1)], ()
    rows = vaezoo.read_rows(path)
    columns = [cell.strip() for cell in rows[0][1]] if rows else []
    if columns.count("text") != 1 or columns.count("label") > 1:
        raise vaezoo.DataError(
            f"{path}: needs one column 'text', and at most one 'label'; its columns: "
            f"{', '.join(map(repr, columns)) or 'none'}"
        )
    result = []
    for number, row in rows[1:]:
        place = f"{path}:{number}"
        if len(row) != len(columns):
            raise vaezoo.DataError(
                f"{place}: has {len(row)} cells, expected {len(columns)}; put text that holds the "
                "delimiter in quotes"
            )
        cells = dict(zip(columns, row, strict=True))
        label = cells.get("label", "")
        result.append(Line(cells["text"], label if label.strip() else None, str(number)))
    others = [name for name in columns if name not in ("text", "label")]
    return result, vaezoo.count_phrase(
        others, "column that is not read", "columns that are not read"
    )
