"""Reads text, and the rows of a csv file."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import TypeAlias

from vaezoo.utils.errors import DataError

Row: TypeAlias = tuple[int, list[str]]
"""The line of the file in which a row begins, counted from 1, and the cells of that row."""
_DELIMITERS = (",", ";", "\t", "|")
_OTHER_FORMATS = {
    b"\xff\xfe": "UTF-16 text; save it as UTF-8",
    b"\xfe\xff": "UTF-16 text; save it as UTF-8",
    b"\x1f\x8b": "a gzip archive; unpack it first",
    b"PK\x03\x04": "a zip archive or a spreadsheet; save it as csv or text",
}
"""How files begin that are no text in UTF-8, and what they are."""
_MAX_LINE = 100_000
"""The number of characters of the first line that are looked at."""


def read_text(file: Path) -> str:
    """The text of a file, without a byte order mark.

    Raises:
        vaezoo.DataError: it cannot be read, or is no text in UTF-8; names the line.
    """
    try:
        data = file.read_bytes()
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror or error}") from error
    for beginning, what in _OTHER_FORMATS.items():
        if data.startswith(beginning):
            raise DataError(f"{file}: is {what}")
    place = data.find(b"\0")
    if place >= 0:
        line = data.count(b"\n", 0, place) + 1
        raise DataError(f"{file}:{line}: has a NUL byte; is it text, in UTF-8?")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        byte = error.object[error.start]
        raise DataError(
            f"{file}:{line}: byte 0x{byte:02x} is not UTF-8 text; save the file as UTF-8"
        ) from None


def _guess_delimiter(text: str) -> str:
    """The character between the cells of a table.

    It is a comma, unless the first line that is not empty has none, but a semicolon, a tab or a
    vertical bar. What is in quotes does not count.
    """
    beginning = re.sub(r'"[^"]*"', "", text.lstrip("\r\n")[:_MAX_LINE])
    first = re.split("[\r\n]", beginning, maxsplit=1)[0]
    return next((each for each in _DELIMITERS if each in first), _DELIMITERS[0])


def read_rows(file: Path) -> list[Row]:
    """All rows of a csv file that are not empty, as text.

    Cells are divided by tabs in a file ``.tsv``, and otherwise by what the first line has: commas,
    or if there are none, semicolons, tabs or bars.

    Returns:
        For each row the line in which it begins, counted from 1, and its cells.

    Raises:
        vaezoo.DataError: the file cannot be read, or is not csv; names the line.
    """
    text = read_text(file)
    delimiter = "\t" if file.suffix.lower() == ".tsv" else _guess_delimiter(text)
    # a quote that is not closed, or closed in the middle of a cell, is an error
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows: list[Row] = []
    line = 1
    try:
        for row in reader:
            if row:
                rows.append((line, row))
            line = reader.line_num + 1
    except csv.Error as error:
        reason = "a quote is not closed" if "unexpected end" in str(error) else error
        raise DataError(f"{file}:{line}: cannot be read as csv: {reason}") from error
    return rows
