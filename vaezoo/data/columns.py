"""The columns of a table as numbers or categories."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vaezoo.data.cells import first_non_number, is_number, other_notation, parse_number
from vaezoo.data.csv_file import Row
from vaezoo.data.standardise import mean_and_scale
from vaezoo.utils.errors import DataError

_MAX_BYTES = 4 * 2**30
"""The greatest size of the one-hot columns of a table."""
_MAX_NUMBER = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Column:
    """One column of a table: standardised numbers, or the indices of categories, ``[n]``."""

    name: str
    values: np.ndarray
    categories: tuple[str, ...] = ()
    offset: float = 0.0
    scale: float = 1.0

    @property
    def width(self) -> int:
        """The number of columns of ``x`` that it becomes."""
        return len(self.categories) or 1


def category_indices(cells: Sequence[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    """The index of each cell ``[n]`` in the sorted different values, and these."""
    values = tuple(sorted(set(cells)))
    index = {value: i for i, value in enumerate(values)}
    return np.array([index[cell] for cell in cells], np.int64), values


def label_indices(cells: Sequence[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    """As ``category_indices``, but an empty cell is no value: its index is -1."""
    values = tuple(sorted({*cells} - {""}))
    index = {"": -1} | {value: i for i, value in enumerate(values)}
    return np.array([index[cell] for cell in cells], np.int64), values


def holds_numbers(name: str, cells: Sequence[str], rows: Sequence[Row], source: str) -> bool:
    """Whether a column is numeric by its cells.

    Args:
        name: the name of the column.
        cells: its cells, empty where it has no value.
        rows: the rows of the table, for the line of a cell.
        source: names the table in messages.

    Raises:
        DataError: its cells are numbers in a form that is not read.
    """
    place = first_non_number(cells)
    notation = "" if place is None else other_notation(cells[place])
    if place is not None and notation:
        raise DataError(
            f"{source}:{rows[place][0]}: column {name!r}: {cells[place]!r} has {notation}; "
            "write numbers such as 1234.5, or list the column in categorical"
        )
    return all(not cell or is_number(cell) for cell in cells)


def standardised_column(
    name: str, cells: Sequence[str], rows: Sequence[Row], train: np.ndarray, source: str
) -> Column:
    """A numeric column, standardised with the mean and the scale of the training split.

    Args:
        name, cells, rows, source: as for ``holds_numbers``.
        train: the indices of the rows of the training split.

    Raises:
        DataError: a cell is no finite number, or no row of the training split has one.
    """
    values = np.empty(len(cells))
    for i, cell in enumerate(cells):
        reason = "is not a finite number"
        try:
            number = parse_number(cell)
        except ValueError as error:
            number, reason = math.nan, str(error)
        if cell and not abs(number) <= _MAX_NUMBER:
            raise DataError(f"{source}:{rows[i][0]}: column {name!r}: {cell!r} {reason}")
        values[i] = number
    if np.isnan(values[train]).all():
        raise DataError(f"{source}: column {name!r} has no number in the training split")
    mean, scale = map(float, mean_and_scale(values[train]))
    values = np.where(np.isnan(values), mean, values)
    return Column(name, (values - mean) / scale, offset=mean, scale=scale)


def check_size(columns: Sequence[Column], rows: int, source: str) -> None:
    """Checks that the one-hot columns of a table do not take too much memory.

    Args:
        columns: those that become ``x``.
        rows: their number.
        source: names the table in messages.

    Raises:
        DataError: they would; names the column with the most values.
    """
    width = sum(len(column.categories) for column in columns)
    size = 4 * width * rows
    if size > _MAX_BYTES:
        most = max(columns, key=lambda column: len(column.categories))
        raise DataError(
            f"{source}: one-hot categories would take {size / 2**30:,.1f} GiB, more than "
            f"{_MAX_BYTES / 2**30:g}; column {most.name!r} has {len(most.categories):,} values "
            "and may name each row: remove it, or list the columns in numeric and categorical"
        )
