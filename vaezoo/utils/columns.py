"""Names of the columns of a file that come partly from a user's data."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TypeVar

Values = TypeVar("Values")
_ADDED = " (source)"


def free_names(columns: Mapping[str, Values], taken: Collection[str]) -> dict[str, Values]:
    """Columns of a user's data, with names that differ from those of the columns beside them.

    A name that is taken gets `` (source)`` at its end, so that no column replaces another, and
    the columns that the program writes have the same names for all data.

    Args:
        columns: the user's columns by name.
        taken: the names of the columns that the program writes.
    """
    used, result = {*columns, *taken}, {}
    for name, values in columns.items():
        free = name
        if name in taken:
            while free in used:
                free += _ADDED
            used.add(free)
        result[free] = values
    return result
