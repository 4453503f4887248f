"""Pictures of rows: as a table, and generated rows beside real ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure

import vaezoo
from vaezoo_tabular.columns import Column
from vaezoo_tabular.comparison import Rows, associations

INK, REAL, MADE, SOFT = "#1f2933", "#2563eb", "#d97706", "#64748b"
_PANELS = 24
"""How many marginals are drawn."""
_BARS = 12
"""How many categories a marginal shows, the most frequent ones."""
_LETTERS = 130
"""How wide a table is; more columns come below."""
_WIDTH = 12.0
_SECONDS_PER_DAY = 86400.0
"""Pictures have dates in days."""


def to_png(figure: Figure) -> bytes:
    """The picture as PNG bytes."""
    return vaezoo.figure_png(
        figure, dpi=110, facecolor="white", bbox_inches="tight", pad_inches=0.15
    )


def draw_table(
    rows: Sequence[Sequence[str]], names: Sequence[str], marked: np.ndarray | None = None
) -> bytes:
    """Rows as a table; columns that do not fit beside the others come below them.

    Args:
        rows: the cells of each row.
        names: of the columns.
        marked: which cells are set in colour, bool ``[rows, columns]``.
    """
    widths = [
        max(len(name), *(len(row[i]) for row in rows), 3) + 2 for i, name in enumerate(names)
    ]
    places, left, top = [], 0, 0
    for width in widths:
        if left and left + width > _LETTERS:
            left, top = 0, top + len(rows) + 2
        places.append((left, top))
        left += width
    total = max(left + width for (left, _), width in zip(places, widths, strict=True))
    figure = Figure(figsize=(max(4.0, 0.085 * total), 0.28 * (top + len(rows) + 1.5)))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(0, total)
    axes.set_ylim(top + len(rows) + 0.5, -1)
    for i, (left, top) in enumerate(places):
        axes.text(left, top - 0.3, names[i], color=SOFT, fontsize=9, family="monospace")
        for y, row in enumerate(rows, top):
            colour = MADE if marked is not None and marked[y - top, i] else INK
            axes.text(left, y + 0.7, row[i], color=colour, fontsize=9, family="monospace")
        axes.axhline(top, color="#e2e8f0", linewidth=1)
    return to_png(figure)


def draw_marginals(real: Rows, made: Rows, columns: Sequence[Column]) -> bytes:
    """The distribution of each column, of real rows and of generated ones."""
    shown = [column for column in columns if column.is_modelled][:_PANELS]
    across = min(4, len(shown))
    down = math.ceil(len(shown) / across)
    figure = Figure(figsize=(_WIDTH, 2.3 * down), layout="constrained")
    for place, column in enumerate(shown, 1):
        axes = figure.add_subplot(down, across, place)
        if column.categories:
            _bars(axes, real.categories[column.name], made.categories[column.name], column)
        else:
            unit = _SECONDS_PER_DAY if column.kind == "datetime" else 1.0
            _histograms(axes, real.numbers[column.name] / unit, made.numbers[column.name] / unit)
            if column.kind == "datetime":
                locator = AutoDateLocator(maxticks=5)
                axes.xaxis.set_major_locator(locator)
                axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
        axes.set_title(column.name, fontsize=10, color=INK, loc="left")
        axes.tick_params(labelsize=7, colors=SOFT, length=2)
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(
        handles=[_patch(REAL, "real"), _patch(MADE, "generated")],
        loc="outside upper right",
        ncols=2,
        frameon=False,
        fontsize=9,
    )
    return to_png(figure)


def _patch(colour: str, label: str) -> Any:
    from matplotlib.patches import Patch

    return Patch(color=colour, label=label)


def _bars(axes: Any, real: np.ndarray, made: np.ndarray, column: Column) -> None:
    """The share of each category, the most frequent ones first."""
    names = [*column.categories, "missing"]
    shares = [np.bincount(each, minlength=len(names)) / len(each) for each in (real, made)]
    order = [i for i in np.argsort(-shares[0]) if shares[0][i] or shares[1][i]][:_BARS]
    at = np.arange(len(order))
    axes.bar(at - 0.2, shares[0][order], 0.4, color=REAL)
    axes.bar(at + 0.2, shares[1][order], 0.4, color=MADE)
    labels = [names[i] if len(names[i]) < 11 else f"{names[i][:9]}…" for i in order]
    axes.set_xticks(at, labels, rotation=90 if len(order) > 4 else 0)


def _histograms(axes: Any, real: np.ndarray, made: np.ndarray) -> None:
    """The share of rows in each of some intervals, from the 0.5th to the 99.5th percentile."""
    known = real[~np.isnan(real)]
    low, high = np.quantile(known, [0.005, 0.995])
    edges = np.linspace(low, high if high > low else low + 1, 31)
    for values, colour in ((real, REAL), (made, MADE)):
        values = values[~np.isnan(values)].clip(edges[0], edges[-1])
        axes.hist(values, edges, weights=np.full(len(values), 1 / max(len(values), 1)),
                  histtype="step", color=colour, linewidth=1.3)  # fmt: skip
    axes.locator_params(axis="x", nbins=4)


def draw_associations(real: Rows, made: Rows) -> bytes:
    """The association of each pair of columns: of real rows, of generated rows, the difference."""
    names = [*real.numbers, *real.categories]
    matrices = [_matrix(associations(rows), len(names)) for rows in (real, made)]
    matrices.append(np.abs(matrices[0] - matrices[1]))
    figure = Figure(figsize=(_WIDTH, 4.6), layout="constrained")
    titled = zip(("real", "generated", "difference"), matrices, strict=True)
    for place, (title, values) in enumerate(titled, 1):
        axes = figure.add_subplot(1, 3, place)
        image = axes.imshow(values, vmin=0, vmax=1, cmap="Blues" if place < 3 else "Oranges")
        axes.set_title(title, fontsize=10, color=INK, loc="left")
        axes.set_xticks(range(len(names)), names, rotation=90, fontsize=6, color=SOFT)
        axes.set_yticks(range(len(names)), names if place == 1 else [], fontsize=6, color=SOFT)
        axes.spines[:].set_visible(False)
        if place > 1:
            bar = figure.colorbar(image, ax=axes, shrink=0.6)
            bar.ax.tick_params(labelsize=7)
    return to_png(figure)


def _matrix(values: np.ndarray, size: int) -> np.ndarray:
    matrix = np.eye(size)
    matrix[np.tril_indices(size, -1)] = values
    return np.maximum(matrix, matrix.T)
