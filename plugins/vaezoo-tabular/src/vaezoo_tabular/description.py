"""Describes columns in words, for users to check."""

from __future__ import annotations

import numpy as np

from vaezoo_tabular.columns import Column, decode

_MAX_NAMES = 3
"""How many categories are named."""


def describe(column: Column, values: np.ndarray | None) -> tuple[str, str, str, str]:
    """The name, the kind, the share of missing cells and the values of a column.

    Args:
        column: the column.
        values: what ``to_values`` returned, ``[n]``; None if it is not modelled.
    """
    if values is None:
        shown = column.categories[0] if column.categories else "not modelled"
        return column.name, column.kind, "", shown
    share = np.isnan(values).mean()
    missing = f"{100 * share:.1f} %" if share else ""
    if column.categories:
        names = ", ".join(column.categories[:_MAX_NAMES])
        more = ", ..." if len(column.categories) > _MAX_NAMES else ""
        return column.name, column.kind, missing, f"{len(column.categories)}: {names}{more}"
    ends = np.array([np.nanmin(values), np.nanmax(values)])
    zeros = np.zeros((2, int(column.has_missing)))
    low, high = map(_text, decode(column, np.concatenate([ends[:, None], zeros], 1)).to_pylist())
    cases = f"{len(column.values)} known" if column.values else ""
    bins = f"{len(column.edges) - 1} bins" if column.edges else ""
    return (
        column.name,
        column.kind,
        missing,
        f"{low} to {high}; {', '.join(filter(None, [cases, bins]))}",
    )


def _text(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
