"""Writes tables as csv files."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

import vaezoo
from vaezoo_tabular.notation import number_texts

SEPARATORS = (",", ";", "\t", "|")
"""Separators that are recognised."""
_ROWS = 2**16
"""How many rows are turned into text at once."""


@dataclass(frozen=True)
class CsvForm:
    """How a csv file is written.

    Attributes:
        separator: the character between cells.
        decimal: the decimal sign of numbers, ``.`` or ``,``.
        header: whether the first row holds the names of the columns.
        encoding: the encoding of the text.
    """

    separator: str = ","
    decimal: str = "."
    header: bool = True
    encoding: str = "utf-8"


def write_csv(table: pa.Table, path: Path, form: CsvForm | None = None) -> None:
    """Writes a table; only cells that need quotes have them.

    Args:
        table: columns that can be cast to text; a missing cell is empty.
        path: the file.
        form: how; by default with commas, decimal points and a header, in UTF-8.

    Raises:
        vaezoo.DataError: the encoding lacks a letter.
    """
    form = form or CsvForm()
    try:
        with open(path, "w", encoding=form.encoding, newline="") as file:
            if form.header:
                names = pa.array(table.column_names, pa.string())
                cells = _quoted(names, "".join(SEPARATORS) + form.separator)
                file.write(form.separator.join(cells.to_pylist()) + "\n")
            for start in range(0, table.num_rows, _ROWS):
                file.write(_lines(table.slice(start, _ROWS).combine_chunks(), form))
    except UnicodeEncodeError as error:
        letter = error.object[error.start]
        raise vaezoo.DataError(
            f"cannot write {letter!r} in the encoding {form.encoding} of the table; write parquet"
        ) from error


def _lines(rows: pa.Table, form: CsvForm) -> str:
    """Rows as the lines of a file."""
    cells = []
    for column in rows.columns:
        # separators are recognised in the first line: in text of that, no other one may occur
        is_first = not form.header and pa.types.is_string(column.type)
        separators = "".join(SEPARATORS) + form.separator if is_first else form.separator
        texts = number_texts(column.combine_chunks(), form.decimal)
        cells.append(_quoted(texts, separators))
    lines = pc.binary_join_element_wise(*cells, form.separator)
    if len(cells) == 1:  # an empty line would be no row
        lines = pc.if_else(pc.equal(lines, ""), '""', lines)
    return "\n".join(lines.to_pylist()) + "\n"


def _quoted(cells: pa.Array, separators: str) -> pa.Array:
    """The text of cells, in quotes if it has a separator; nothing where one is missing."""
    cells = pc.fill_null(cells, "")
    doubled = pc.replace_substring(cells, '"', '""')
    needs_quotes = pc.match_substring_regex(cells, rf'["\r\n{re.escape(separators)}]')
    return pc.if_else(needs_quotes, pc.binary_join_element_wise('"', doubled, '"', ""), cells)
