"""Ground-truth factors that users give with their examples, for scores of disentanglement.

Shapes: n examples, F factors.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from vaezoo.data.cells import is_missing, is_number
from vaezoo.data.csv_file import read_rows
from vaezoo.data.dataspec import Field
from vaezoo.utils.errors import DataError, did_you_mean

_MAX_VALUES = 64
"""A factor of numbers with more different values is cut into bins."""
_BINS = 20
_FILE = "file"
"""The column of a csv file of factors that names the examples."""


@dataclass(frozen=True)
class Factors:
    """The ground-truth factors of examples.

    Attributes:
        fields: describe the factors, for ``DataSpec.factors``.
        values: the indices of their values, int64 ``[n, F]``, for ``Split.factors``.
        notes: phrases about factors that were cut into bins, for ``Dataset.notes``.
    """

    fields: tuple[Field, ...]
    values: Tensor
    notes: tuple[str, ...]


def read_factors(columns: Mapping[str, np.ndarray | Sequence[str]], source: str) -> Factors | None:
    """Describes factors, and converts their values to indices.

    Numbers are in their order, and text is sorted. Numbers with more than 64 different values are
    cut into 20 bins of equal width.

    Args:
        columns: the values of each factor by name, ``[n]``: an array of numbers, or cells of a
            table, which are numbers if all of them are.
        source: names them in messages.

    Returns:
        The factors; None without columns.

    Raises:
        DataError: a value is missing or not finite; names the factor and the row.
    """
    fields: list[Field] = []
    indices, notes = [], []
    for name, column in columns.items():
        index, categories, is_ordered, note = _indices(name, column, source)
        kind: Literal["ordinal", "categorical"] = "ordinal" if is_ordered else "categorical"
        place = len(fields)
        fields.append(Field(name, kind, (place, place + 1), categories=categories))
        indices.append(index)
        notes += note
    if not fields:
        return None
    return Factors(tuple(fields), torch.from_numpy(np.stack(indices, 1)), tuple(notes))


def _indices(
    name: str, column: np.ndarray | Sequence[str], source: str
) -> tuple[np.ndarray, tuple[str, ...], bool, list[str]]:
    """The index of each value ``[n]``, their names, whether they have an order, and notes."""
    where = f"{source}: factor {name!r}"
    if not isinstance(column, np.ndarray):
        empty = next((row for row, cell in enumerate(column) if is_missing(cell)), None)
        if empty is not None:
            raise DataError(f"{where} has no value in example {empty}; add it, or drop the row")
        if not all(map(is_number, column)):
            texts, index = np.unique(np.array(column), return_inverse=True)
            return index.astype(np.int64), tuple(map(str, texts)), False, []
        column = np.array([float(cell) for cell in column])
    if not np.isfinite(column).all():
        row = int((~np.isfinite(column)).argmax())
        raise DataError(f"{where} is {column[row]} in example {row}")
    values, index = np.unique(column, return_inverse=True)
    if len(values) <= _MAX_VALUES:
        return index.astype(np.int64), tuple(f"{value:.15g}" for value in values), True, []
    edges = np.linspace(float(values[0]), float(values[-1]), _BINS + 1)
    index = np.searchsorted(edges[1:-1], column, side="right")
    names = tuple(f"{low:.4g} to {high:.4g}" for low, high in itertools.pairwise(edges))
    phrase = f"factor {name!r} with {len(values):,} different values, cut into {_BINS} bins"
    return index.astype(np.int64), names, True, [phrase]


def read_factor_file(path: Path, files: Sequence[str]) -> Factors:
    """Reads the factors of files from a csv file with a column ``file`` and one for each factor.

    Args:
        path: the csv file.
        files: the names of the examples in that column, such as ``cats/1.png``.

    Raises:
        DataError: it has no such columns, or lacks the row of a file.
    """
    (_, header), *rows = read_rows(path) or [(1, [])]
    names = [cell.strip() for cell in header]
    if names.count(_FILE) != 1 or len(set(names)) < len(names) or len(names) < 2:
        listed = ", ".join(map(repr, names))
        raise DataError(f"{path}: needs a column 'file' and one for each factor, not {listed}")
    place, by_file = names.index(_FILE), {}
    for line, row in rows:
        if len(row) != len(names):
            raise DataError(f"{path}:{line}: has {len(row)} cells, expected {len(names)}")
        by_file[row[place].strip().replace("\\", "/")] = row
    for file in files:
        if file not in by_file:
            hint = did_you_mean(file, by_file)
            raise DataError(f"{path}: has no row for the file {file!r}{hint}")
    columns = {
        name: [by_file[file][i].strip() for file in files]
        for i, name in enumerate(names)
        if i != place
    }
    factors = read_factors(columns, str(path))
    assert factors is not None, "there is a column"
    return factors
