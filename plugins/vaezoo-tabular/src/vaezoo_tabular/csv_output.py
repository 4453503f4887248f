"""Writes tables as csv files."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

_ROWS = 2**16
"""How many rows are turned into text at once."""


def write_csv(table: pa.Table, path: Path) -> None:
    """Writes a table with a header; only cells that need quotes have them.

    Args:
        table: columns that can be cast to text; a missing cell is empty.
        path: the file, in UTF-8.
    """
    with open(path, "w", encoding="utf-8", newline="") as file:
        header = _quoted(pa.array(table.column_names, pa.string())).to_pylist()
        file.write(",".join(header) + "\n")
        for start in range(0, table.num_rows, _ROWS):
            rows = table.slice(start, _ROWS).combine_chunks()
            cells = [_quoted(pc.cast(each, pa.string()).combine_chunks()) for each in rows.columns]
            lines = pc.binary_join_element_wise(*cells, ",")
            if len(cells) == 1:  # an empty line would be no row
                lines = pc.if_else(pc.equal(lines, ""), '""', lines)
            file.write("\n".join(lines.to_pylist()) + "\n")


def _quoted(cells: pa.Array) -> pa.Array:
    """The text of cells as it stands in a csv file; nothing where one is missing."""
    cells = pc.fill_null(cells, "")
    doubled = pc.replace_substring(cells, '"', '""')
    needs_quotes = pc.match_substring_regex(cells, r'[",\r\n]')
    return pc.if_else(needs_quotes, pc.binary_join_element_wise('"', doubled, '"', ""), cells)
