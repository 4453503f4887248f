"""Describes the columns of a table from its training rows.

Shapes: n rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

import vaezoo
from vaezoo_tabular.checks import read_values, refusal
from vaezoo_tabular.columns import MODELLED, NUMBERS, OTHER, Column, encode, standardise
from vaezoo_tabular.description import describe
from vaezoo_tabular.fitting_numbers import fit_numbers
from vaezoo_tabular.kinds import Finding, Kind, find_kind
from vaezoo_tabular.source import Source

_MAX_LETTERS = 40
"""How many letters of a category a note has."""


class TooManyCategoriesError(vaezoo.DataError):
    """A column has more categories than it may.

    Attributes:
        column: its name.
        count: how many categories it has.
    """

    def __init__(self, message: str, column: str, count: int) -> None:
        super().__init__(message)
        self.column, self.count = column, count


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    """How columns are described.

    Attributes:
        kinds: the kinds of some columns, by name.
        dates: the formats of dates of some columns, by name.
        max_categories: the most categories of a column.
        rare: categories with fewer training rows are grouped into one.
        max_values: a column of numbers with more different values has bins.
        bins: the number of bins.
    """

    kinds: Mapping[str, Kind]
    dates: Mapping[str, str]
    max_categories: int
    rare: int
    max_values: int
    bins: int


@dataclass(frozen=True)
class Fitted:
    """The columns of a table, and what users should know of them.

    Attributes:
        columns: in the order of the source.
        x: the modelled columns, float32 ``[n, D]``.
        table: the name, kind, share of missing cells and values of each column.
        left_out: what is not used.
        notes: what should be checked.
    """

    columns: tuple[Column, ...]
    x: np.ndarray
    table: tuple[tuple[str, ...], ...]
    left_out: tuple[str, ...]
    notes: tuple[str, ...]


def fit_columns(source: Source, train: np.ndarray, options: FitOptions) -> Fitted:
    """Finds out what the columns of a table hold, and describes them by the training rows.

    Args:
        source: the table.
        train: the indices of the training rows.
        options: how.

    Raises:
        vaezoo.DataError: a column cannot be modelled as asked; names it.
    """
    names = source.table.column_names
    for name in (*options.kinds, *options.dates):
        if name not in names:
            raise vaezoo.DataError(
                f"{source.name}: no column {name!r}{vaezoo.did_you_mean(name, names)}"
            )
    vaezoo.check_memory(
        4 * len(names) * source.table.num_rows,
        f"{source.name}: the columns",
        "use fewer rows or columns",
    )
    columns, blocks, table, notes, start = [], [], [], list(source.notes), 0
    for name in names:
        cells = source.table[name].combine_chunks()
        finding = _finding(source, name, cells, options)
        column, numbers, note = _fit(source, name, cells, finding, train, options)
        notes += filter(None, (finding.note, note))
        if numbers is not None:
            notes += untrained(column, numbers[train]) if column.categories else ()
            column = replace(column, start=start)
            start += column.width
            blocks.extend(standardise(encode(column, numbers), column).T)
            _check_indicator(source, column)
        columns.append(column)
        table.append(describe(column, numbers))
    if not blocks:
        raise vaezoo.DataError(f"{source.name}: no column is left to be modelled")
    x = np.ascontiguousarray(np.array(blocks).T)  # faster than a concatenation of columns
    return Fitted(tuple(columns), x, tuple(table), tuple(_left_out(columns)), tuple(notes))


def untrained(column: Column, values: np.ndarray) -> tuple[str, ...]:
    """A note on categories that no training row has.

    Args:
        column: the column.
        values: those of the training rows, as ``to_values`` returns them.
    """
    if not column.categories:
        return ()
    return vaezoo.untrained_classes(
        values[~np.isnan(values)].astype(np.int64),
        [name[:_MAX_LETTERS] for name in column.categories],
        f"value of {column.name!r} without a training row",
        f"values of {column.name!r} without a training row",
    )


def _tellable(numbers: np.ndarray, offset: float, scale: float) -> np.ndarray:
    """Of numbers in order, those that differ in float32 from the one before, standardised."""
    standardised = ((numbers - offset) / scale).astype(np.float32)
    return numbers[np.diff(standardised, prepend=-np.inf) > 0]


def _check_indicator(source: Source, column: Column) -> None:
    """Raises DataError if the indicator of a column has the name of another column."""
    for field in column.fields[1:]:
        if field.name in source.table.column_names:
            raise vaezoo.DataError(
                f"{source.name}: column {field.name!r} has the name of an indicator; rename it"
            )


def _left_out(columns: Sequence[Column]) -> list[str]:
    """The columns that are not modelled, by the reason."""
    reasons = {
        "identifier": ("column that names the rows", "columns that name the rows"),
        "constant": ("column with one value only", "columns with one value only"),
        "ignore": ("column that is ignored", "columns that are ignored"),
    }
    return [
        phrase
        for kind, (one, many) in reasons.items()
        for phrase in vaezoo.count_phrase([c.name for c in columns if c.kind == kind], one, many)
    ]


def _finding(source: Source, name: str, cells: pa.Array, options: FitOptions) -> Finding:
    """The kind that was asked for, or that the values of a column show."""
    asked, date_format = options.kinds.get(name), options.dates.get(name, "")
    if date_format:
        return Finding("datetime", cells, date_format)
    if asked is None:
        finding = find_kind(name, cells, source.decimal)
        if finding.problem:
            row = pc.index(cells, pa.scalar(finding.odd)).as_py()
            raise refusal(source, row, name, f"{finding.odd!r} {finding.problem}")
        return finding
    if asked == "datetime" and pa.types.is_string(cells.type):
        found = find_kind(name, cells, source.decimal)
        if found.kind != "datetime":
            raise vaezoo.DataError(
                f"{source.name}: column {name!r}: its dates are in no known format; set dates"
            )
        return found
    return Finding(asked, cells)


def _fit(
    source: Source,
    name: str,
    cells: pa.Array,
    finding: Finding,
    train: np.ndarray,
    options: FitOptions,
) -> tuple[Column, np.ndarray | None, str]:
    """One column, its values if it is modelled, and what users should check, or nothing."""
    column = Column(
        name=name, kind=finding.kind, dtype=str(cells.type), date_format=finding.date_format
    )
    if finding.kind == "text":
        raise vaezoo.DataError(
            f"{source.name}: column {name!r} holds text, which is not modelled; set its kind to "
            "ignore, identifier or categorical"
        )
    if finding.kind not in MODELLED:
        constant = pc.unique(cells).drop_null() if finding.kind == "constant" else []
        texts = tuple(pc.cast(constant, pa.string()).to_pylist()) if len(constant) else ()
        return replace(column, categories=texts[:1]), None, ""
    if finding.kind in NUMBERS:
        return fit_numbers(
            source,
            column,
            cells,
            train,
            max_values=options.max_values,
            bins=options.bins,
        )
    column = replace(column, categories=_categories(source, column, cells, train, options))
    if finding.kind == "boolean" and len(column.categories) > 2:
        raise vaezoo.DataError(
            f"{source.name}: column {column.name!r} is not boolean: it has "
            f"{len(column.categories)} different values; set its kind to categorical"
        )
    values = read_values(source, column, cells)
    return replace(column, has_missing=bool(np.isnan(values).any())), values, ""


def _categories(
    source: Source, column: Column, cells: pa.Array, train: np.ndarray, options: FitOptions
) -> tuple[str, ...]:
    """The categories of a column, sorted; rare ones are grouped.

    Raises:
        vaezoo.DataError: there are too many.
    """
    texts = pc.cast(cells, pa.string())
    names, is_grouped = pc.unique(texts).drop_null(), False
    if options.rare > 1:
        counts = pc.value_counts(texts.take(pa.array(train)).drop_null())
        frequent = pc.greater_equal(counts.field("counts"), options.rare)
        is_grouped = pc.sum(frequent).as_py() < len(names)
        names = counts.field("values").filter(frequent)
    if len(names) > options.max_categories:
        raise TooManyCategoriesError(
            f"{source.name}: column {column.name!r} has {len(names):,} categories, more than "
            f"max_categories: {options.max_categories}; raise it, group those with fewer rows "
            "with rare, or set the kind of the column to ignore or identifier",
            column.name,
            len(names),
        )
    return (*sorted(names.to_pylist()), *([OTHER] if is_grouped else []))
