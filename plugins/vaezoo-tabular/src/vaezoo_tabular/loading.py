"""Turns tables into ``x``: the rows of training, and later those of the user's other files.

Shapes: n rows, D columns of ``x``.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

import vaezoo
from vaezoo_tabular.checks import read_values, refusal
from vaezoo_tabular.columns import NUMBERS, Column, encode
from vaezoo_tabular.csv_output import CsvForm
from vaezoo_tabular.dates import ALL_FORMATS, best_format, format_dates, parse_dates
from vaezoo_tabular.fitting import Fitted
from vaezoo_tabular.notation import number_texts, with_points
from vaezoo_tabular.source import Source

Unseen: TypeAlias = Literal["error", "missing"]
"""What becomes of columns that a file lacks, and of categories that no training row has."""
_MAX_NAMES = 5
_NONE_MISSING = "the table of training has no empty cell in this column"
_REMEDY = "fill such cells (vaezoo impute does), or train on a table in which some are empty"


@dataclass(frozen=True)
class Loaded:
    """The examples of a table.

    Attributes:
        fitted: its columns.
        labels: the class labels ``[n]``, or None.
        classes: their names.
        condition_type: the type of Arrow of their column.
        factors: the ground-truth factors, or None.
        identifiers: the columns that name the rows, as text.
        rows: the indices of the rows of each split.
        dropped: the lines or numbers of rows that are left out.
        notes: what users should check.
        names: all columns of the source, in order.
        form: how it is written, if it is a csv file.
    """

    fitted: Fitted
    labels: np.ndarray | None
    classes: tuple[str, ...]
    condition_type: str
    factors: vaezoo.Factors | None
    identifiers: Mapping[str, pa.ChunkedArray]
    rows: Mapping[str, np.ndarray]
    dropped: tuple[int, ...]
    notes: tuple[str, ...]
    names: tuple[str, ...]
    form: CsvForm


def join_tables(train: Source, test: Source) -> Source:
    """The rows of both, first those of training.

    Raises:
        vaezoo.DataError: the test rows lack a column, or hold something else in it.
    """
    missing = set(train.table.column_names) - set(test.table.column_names)
    if missing:
        raise vaezoo.DataError(f"{test.name}: has no column {min(missing)!r}")
    if train.decimal != test.decimal and _has_text(train, test):
        raise vaezoo.DataError(
            f"{test.name}: its decimal sign is {test.decimal!r}, but that of {train.name} is "
            f"{train.decimal!r}; write both files alike, or set decimal"
        )
    cells = []
    for name, kind in zip(train.table.column_names, train.table.schema.types, strict=True):
        try:
            cells.append(test.table[name].cast(kind))
        except pa.ArrowException as error:
            raise vaezoo.DataError(
                f"{test.name}: column {name!r} holds {test.table[name].type}, but {kind} in "
                f"{train.name}: {str(error).splitlines()[0]}"
            ) from error
    rows = pa.Table.from_arrays(cells, schema=train.table.schema)
    table = pa.concat_tables([train.table, rows])
    return replace(train, table=table, test=test, test_start=train.table.num_rows)


def _has_text(*sources: Source) -> bool:
    return all(any(map(pa.types.is_string, each.table.schema.types)) for each in sources)


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
    places = np.flatnonzero(is_complete)
    return replace(source, table=kept, kept=places), np.flatnonzero(~is_complete).tolist()


def encode_rows(
    source: Source,
    columns: Sequence[Column],
    *,
    unseen: Unseen = "error",
    fills_missing: bool = False,
) -> np.ndarray:
    """The ``x`` of the rows of another table in the units of the source, float64 ``[n, D]``.

    Columns are found by name. Warns of cells that count as missing because they hold a category
    that no training row has.

    Args:
        source: the table.
        columns: those of the model.
        unseen: whether columns that the table lacks, and categories that training lacks, are
            refused or count as missing cells.
        fills_missing: whether missing cells are to be filled: they are then NaN, and indicators
            say that they have a value.

    Raises:
        vaezoo.DataError: a column is missing, or holds what the model does not know; names the
            row, the column and the cell.
    """
    blocks = []
    for column in columns:
        if column.is_modelled:
            may_lack = fills_missing or column.has_missing
            values = _values_of(source, column, unseen, may_lack=may_lack, fills=fills_missing)
            if fills_missing:
                indicators = [np.zeros(len(values))] if column.has_missing else []
                blocks.append(np.stack([values, *indicators], 1))
            else:
                blocks.append(encode(column, values))
    return np.concatenate(blocks, 1)


def _values_of(
    source: Source, column: Column, unseen: Unseen, *, may_lack: bool, fills: bool
) -> np.ndarray:
    """The values of a column in another table, float64 ``[n]``; NaN where there is none."""
    name, names = column.name, source.table.column_names
    if name not in names:
        if fills or (may_lack and unseen == "missing"):
            return np.full(source.table.num_rows, np.nan)
        hint = vaezoo.did_you_mean(name, names)
        raise vaezoo.DataError(f"{source.name}: no column {name!r}{hint}")
    cells = source.table[name].combine_chunks()
    values = read_values(source, column, cells)
    is_unknown = values < 0 if column.categories else np.zeros(len(values), bool)
    if is_unknown.any():
        row = int(is_unknown.argmax())
        text = str(cells[row].as_py())
        if unseen == "error" or not may_lack:
            known = ", ".join(column.categories[:_MAX_NAMES])
            more = ", ..." if len(column.categories) > _MAX_NAMES else ""
            lacks = ""
            if unseen == "missing":
                lacks = f"; it cannot count as missing, as {_NONE_MISSING}; {_REMEDY}"
            raise refusal(
                source, row, name, f"{text!r} is none of its values ({known}{more}){lacks}"
            )
        count = int(is_unknown.sum())
        cells_count = "1 cell of column" if count == 1 else f"{count:,} cells of column"
        verb, value = ("counts", "its value") if count == 1 else ("count", "their values")
        warnings.warn(
            f"{source.name}: {cells_count} {name!r} {verb} as missing, because no training row "
            f"has {value} ({text!r}{'' if count == 1 else ', ...'})",
            stacklevel=2,
        )
        values = np.where(is_unknown, np.nan, values)
    if not may_lack and np.isnan(values).any():
        row = int(np.isnan(values).argmax())
        raise refusal(source, row, name, f"the cell is empty, but {_NONE_MISSING}; {_REMEDY}")
    return values


def complete_table(
    source: Source, columns: Sequence[Column], filled: pa.Table, *, decimal: str
) -> pa.Table:
    """The rows of a table with values in the cells that had none, and columns that it lacks.

    What has a value is decided as ``encode_rows`` does: categories that are not known have none.

    Args:
        source: the table.
        columns: those of the model.
        filled: values of all cells of some columns.
        decimal: the decimal sign of numbers in text.
    """
    by_name = {column.name: column for column in columns if column.is_modelled}
    cells_of = dict(zip(source.table.column_names, source.table.columns, strict=True))
    for name, values in zip(filled.column_names, filled.columns, strict=True):
        values, column = values.combine_chunks(), by_name.get(name)
        if name not in cells_of or not pc.any(pc.is_valid(cells_of[name])).as_py():
            cells_of[name] = values
            continue
        cells = cells_of[name].combine_chunks()
        is_given = _is_given(source, column, cells)
        needed = pc.if_else(is_given, pa.scalar(None, values.type), values)
        if column is not None and column.kind == "datetime":
            needed = _dates_like(cells, needed, column)
        elif pa.types.is_string(cells.type) and column is not None and column.kind in NUMBERS:
            cells = with_points(cells, source.decimal) if decimal != source.decimal else cells
            needed = number_texts(needed, decimal)
        cells_of[name] = _merged(is_given, cells, needed)
    return pa.table(cells_of)


def _is_given(source: Source, column: Column | None, cells: pa.Array) -> pa.Array:
    """Whether cells have a value that is kept, ``[n]``."""
    if column is None:
        return pc.is_valid(cells)
    values = read_values(source, column, cells)
    is_unknown = (values < 0) if column.categories else np.zeros(len(values), bool)
    return pa.array(~np.isnan(values) & ~is_unknown)


def _dates_like(cells: pa.Array, dates: pa.Array, column: Column) -> pa.Array:
    """Dates of a column in the form of cells that are dates, too."""
    if pa.types.is_string(dates.type):
        if pa.types.is_string(cells.type):  # they have the same format
            return dates
        return parse_dates(dates, column.date_format)
    if not pa.types.is_string(cells.type):
        return dates
    return format_dates(pc.cast(dates, pa.timestamp("us")), best_format(cells, ALL_FORMATS))


def _merged(is_given: pa.Array, cells: pa.Array, values: pa.Array) -> pa.Array:
    """Cells with values where they have none, in the type of cells if it can hold both."""
    for kind in (cells.type, values.type):
        try:
            return pc.if_else(is_given, pc.cast(cells, kind), pc.cast(values, kind))
        except pa.ArrowException:
            continue
    return pc.if_else(is_given, pc.cast(cells, pa.string()), pc.cast(values, pa.string()))
