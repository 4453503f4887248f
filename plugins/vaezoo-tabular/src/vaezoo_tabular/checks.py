"""Reads the cells of a column, and refuses what it cannot hold.

Shapes: n rows.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

import vaezoo
from vaezoo_tabular.columns import NUMBERS, Column, to_values
from vaezoo_tabular.dates import ALL_FORMATS, best_format, parse_dates
from vaezoo_tabular.notation import example, first_non_number, other_notation
from vaezoo_tabular.source import Source


def read_values(source: Source, column: Column, cells: pa.Array) -> np.ndarray:
    """What ``to_values`` returns, float64 ``[n]``, of cells that are as the column demands.

    Raises:
        vaezoo.DataError: a cell is no number or date, not whole, or too large; names the row, the
            column and the cell.
    """
    if column.kind == "datetime":
        values = to_values(column, _dates(source, column, cells), source.decimal)
    elif column.kind in NUMBERS:
        values = _numbers(source, column, cells)
    else:
        return to_values(column, cells, source.decimal)
    bad, what = np.abs(values) > np.finfo(np.float32).max, "too large"  # also infinity
    if column.kind in ("integer", "count") and not bad.any():
        bad, what = ~np.isnan(values) & (values != np.floor(values)), "not a whole number"
    if column.kind == "count" and not bad.any():
        bad, what = values < 0, "below 0"
    if bad.any():
        row = int(bad.argmax())
        raise refusal(source, row, column.name, f"{_text(cells[row])} is {what}")
    return values


def refusal(source: Source, row: int, column: str, problem: str) -> vaezoo.DataError:
    """An error that names a cell and what is wrong with it."""
    return vaezoo.DataError(f"{source.place(row)}: column {column!r}: {problem}")


def _numbers(source: Source, column: Column, cells: pa.Array) -> np.ndarray:
    """The numbers of cells; the slow search for one that is none follows a failure only."""
    if pa.types.is_string(cells.type):
        try:
            values = to_values(column, cells, source.decimal)
        except pa.ArrowInvalid:
            values = None
        if values is not None and np.isnan(values).sum() == cells.null_count:
            return values
    _check_numbers(source, column, cells)
    return to_values(column, cells, source.decimal)


def _check_numbers(source: Source, column: Column, cells: pa.Array) -> None:
    """Raises DataError if a cell is no number."""
    if pa.types.is_string(cells.type):
        row = first_non_number(cells, source.decimal)
        if row is not None:
            notation = other_notation(cells[row].as_py(), source.decimal)
            what = f"has {notation}; write it as {example(source.decimal)}"
            what = what if notation else "is not a number"
            raise refusal(source, row, column.name, f"{_text(cells[row])} {what}")
    elif not (pa.types.is_integer(cells.type) or pa.types.is_floating(cells.type)):
        row = _first_given(cells)
        if row is not None:
            raise refusal(source, row, column.name, f"{_text(cells[row])} is not a number")


def _dates(source: Source, column: Column, cells: pa.Array) -> pa.Array:
    """The cells as text in the format of the column, or as timestamps."""
    if pa.types.is_temporal(cells.type):
        return cells
    if not pa.types.is_string(cells.type):
        row = _first_given(cells)
        if row is None:
            return cells.cast(pa.timestamp("us"))
        raise refusal(source, row, column.name, f"{_text(cells[row])} is not a date")
    best = parse_dates(cells, column.date_format or best_format(cells, ALL_FORMATS))
    row = pc.index(pc.and_(pc.is_null(best), pc.is_valid(cells)), pa.scalar(True)).as_py()
    if row >= 0:
        example = f" such as {column.date_format}" if column.date_format else ""
        raise refusal(source, row, column.name, f"{_text(cells[row])} is no date{example}")
    return best


def _first_given(cells: pa.Array) -> int | None:
    row = pc.index(pc.is_valid(cells), pa.scalar(True)).as_py()
    return None if row < 0 else row


def _text(cell: pa.Scalar) -> str:
    """A cell as it stands in messages, cut after some letters."""
    value = cell.as_py()
    return repr(value if isinstance(value, str) else str(value))[:80]
