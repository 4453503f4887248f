"""Turns tables into ``x``: the rows of training, and later those of the user's other files.

Shapes: n rows, D columns of ``x``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

import vaezoo
from vaezoo_tabular.columns import Column, encode, to_values
from vaezoo_tabular.files import Source
from vaezoo_tabular.fitting import Fitted
from vaezoo_tabular.kinds import first_non_number


@dataclass(frozen=True)
class Loaded:
    """The examples of a table.

    Attributes:
        fitted: its columns.
        x: float32 ``[n, D]``.
        labels: the class labels ``[n]``, or None.
        classes: their names.
        factors: the ground-truth factors, or None.
        rows: the indices of the rows of each split.
        dropped: the places of rows that are left out.
    """

    fitted: Fitted
    x: np.ndarray
    labels: np.ndarray | None
    classes: tuple[str, ...]
    factors: vaezoo.Factors | None
    rows: Mapping[str, np.ndarray]
    dropped: tuple[str, ...]


def join_tables(train: Source, test: Source) -> Source:
    """The rows of both, first those of training.

    Raises:
        vaezoo.DataError: the test rows lack a column, or hold something else in it.
    """
    missing = set(train.table.column_names) - set(test.table.column_names)
    if missing:
        raise vaezoo.DataError(f"{test.name}: has no column {min(missing)!r}")
    try:
        rows = test.table.select(train.table.column_names).cast(train.table.schema)
    except pa.ArrowInvalid as error:
        raise vaezoo.DataError(f"{test.name}: {str(error).splitlines()[0]}") from error
    return replace(train, table=pa.concat_tables([train.table, rows]))


def without_missing(
    source: Source, ignored: Sequence[str], *, drops: bool
) -> tuple[Source, list[int]]:
    """Drops or refuses rows with missing cells.

    Args:
        source: the table.
        ignored: columns whose cells do not count.
        drops: whether rows are dropped.

    Returns:
        The table, and the rows that were dropped.

    Raises:
        vaezoo.DataError: a cell is missing, and rows are not dropped.
    """
    is_complete = np.ones(source.table.num_rows, bool)
    for name in source.table.column_names:
        if name in ignored:
            continue
        given = pc.is_valid(source.table[name]).to_numpy()
        if not drops and not given.all():
            row = int(given.argmin())
            raise vaezoo.DataError(
                f"{source.place(row)}: column {name!r} is empty; set missing to model or drop"
            )
        is_complete &= given
    if not is_complete.any():
        raise vaezoo.DataError(f"{source.name}: every row has a missing cell")
    kept = source.table.filter(pa.array(is_complete))
    return replace(source, table=kept, first_line=0), np.flatnonzero(~is_complete).tolist()


def standardise(x: np.ndarray, columns: Sequence[Column]) -> np.ndarray:
    """Rows ``[n, D]`` in the range of the model, float32, of those in the units of the source."""
    offset, scale = np.zeros(x.shape[1]), np.ones(x.shape[1])
    for column in columns:
        if column.is_modelled:
            offset[column.start], scale[column.start] = column.offset, column.scale
    return ((x - offset) / scale).astype(np.float32)


def encode_rows(
    source: Source, columns: Sequence[Column], *, fills_missing: bool = False
) -> np.ndarray:
    """The ``x`` of the rows of another table in the units of the source, float64 ``[n, D]``.

    Columns are found by name; others are not used.

    Args:
        source: the table.
        columns: those of the model.
        fills_missing: whether missing cells are to be filled: they are then NaN, and indicators
            say that they have a value.

    Raises:
        vaezoo.DataError: a column is missing, or holds what no training row has; names the row.
    """
    blocks = [
        _encode_cells(source, column, fills_missing=fills_missing)
        for column in columns
        if column.is_modelled
    ]
    return np.concatenate(blocks, 1)


def _encode_cells(source: Source, column: Column, *, fills_missing: bool) -> np.ndarray:
    """The columns of x of one column in the units of the source, float64 ``[n, W]``."""
    n, place = source.table.num_rows, f"column {column.name!r}"
    if column.name not in source.table.column_names:
        if not (column.has_missing or fills_missing):
            raise vaezoo.DataError(f"{source.name}: no {place}")
        return _columns_of_x(column, np.full(n, np.nan), fills_missing=fills_missing)
    cells = source.table[column.name].combine_chunks()
    is_text = pa.types.is_string(cells.type)
    if is_text and column.kind in ("numeric", "integer", "count"):
        row = first_non_number(cells, source.decimal)
        if row is not None:
            text = cells[row].as_py()
            raise vaezoo.DataError(f"{source.place(row)}: {place}: {text!r} is not a number")
    try:
        values = to_values(column, cells, source.decimal)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise vaezoo.DataError(
            f"{source.name}: {place} holds {cells.type}, not {column.kind} values"
        ) from error
    if column.categories and (values < 0).any():
        row = int((values < 0).argmax())
        text, known = cells[row].as_py(), ", ".join(column.categories[:5])
        more = ", ..." if len(column.categories) > 5 else ""
        raise vaezoo.DataError(
            f"{source.place(row)}: {place} has no value {text!r}; it has {known}{more}"
        )
    try:
        return _columns_of_x(column, values, fills_missing=fills_missing)
    except ValueError as error:
        row = int(np.isnan(values).argmax())
        raise vaezoo.DataError(
            f"{source.place(row)}: {place} is empty, as no training row was"
        ) from error


def _columns_of_x(column: Column, values: np.ndarray, *, fills_missing: bool) -> np.ndarray:
    """``[n, W]``; NaN for missing values that are to be filled."""
    if not fills_missing:
        return encode(column, values)
    indicators = [np.zeros(len(values))] if column.has_missing else []
    return np.stack([values, *indicators], 1)
