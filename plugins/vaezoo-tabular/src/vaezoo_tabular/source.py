"""A table as it was read, with plain types, and where its rows are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

import vaezoo
from vaezoo_tabular.csv_output import CsvForm


@dataclass(frozen=True)
class Source:
    """A table as it was read.

    Attributes:
        name: names it in messages.
        table: its columns; those of a csv file are text.
        form: how it is written, if it is a csv file.
        line_of: the line of a row in a file of text; None if rows have no lines.
        notes: what users should check.
        kept: the rows of the source that the table has, ``[n]``; None for all.
        test, test_start: the source of the last rows, if that is another, and the first of them.
    """

    name: str
    table: pa.Table
    form: CsvForm = field(default_factory=CsvForm)
    line_of: Callable[[int], int] | None = None
    notes: tuple[str, ...] = ()
    kept: np.ndarray | None = None
    test: Source | None = None
    test_start: int = 0

    @property
    def decimal(self) -> str:
        """The decimal sign of numbers in text."""
        return self.form.decimal

    @property
    def is_csv(self) -> bool:
        """Whether it is a csv file."""
        return self.line_of is not None

    def place(self, row: int) -> str:
        """Names a row in messages, as ``file:line`` where rows are lines of a file."""
        row = row if self.kept is None else int(self.kept[row])
        if self.test is not None and row >= self.test_start:
            return self.test.place(row - self.test_start)
        sign = ", row " if self.line_of is None else ":"
        return f"{self.name}{sign}{self.number(row)}"

    def number(self, row: int) -> int:
        """The line of a row of the source, or where rows have no lines its number from 1 on."""
        if self.test is not None and row >= self.test_start:
            return self.test.number(row - self.test_start)
        return row + 1 if self.line_of is None else self.line_of(row)


def checked(source: Source) -> Source:
    """The source with plain types: text, numbers, truth values, dates and times.

    Raises:
        vaezoo.DataError: it has no rows, a column without a name or with that of another, or a
            column of another type; names it.
    """
    check_names(source.table.column_names, source.name)
    if not source.table.num_rows:
        raise vaezoo.DataError(f"{source.name}: has no rows")
    columns = [
        _plain(source.name, name, column)
        for name, column in zip(source.table.column_names, source.table.columns, strict=True)
    ]
    table = pa.Table.from_arrays(columns, names=source.table.column_names)
    return replace(source, table=table)


def check_names(names: list[str], source: str) -> None:
    """Raises DataError if a column has no name, or the name of another."""
    known: set[str] = set()
    for place, name in enumerate(names, 1):
        if not name.strip():
            raise vaezoo.DataError(f"{source}: column {place} has no name; name it, or remove it")
        if name in known:
            raise vaezoo.DataError(f"{source}: two columns have the same name {name!r}")
        known.add(name)


def _plain(source: str, name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column of text, numbers, truth values, dates or times; of numbers NaN is missing."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind) or pa.types.is_null(kind):
        return column.cast(pa.string())
    if pa.types.is_decimal(kind):
        return column.cast(pa.float64())
    if pa.types.is_floating(kind):
        wide = column.cast(pa.float64()) if pa.types.is_float16(kind) else column
        return pc.if_else(pc.is_nan(wide), None, wide) if pc.any(pc.is_nan(wide)).as_py() else wide
    if pa.types.is_string(kind) or pa.types.is_boolean(kind) or pa.types.is_integer(kind):
        return column
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return column
    raise vaezoo.DataError(
        f"{source}: column {name!r} holds {kind}, which is not modelled; turn it into numbers, "
        "text or dates, or remove it"
    )
