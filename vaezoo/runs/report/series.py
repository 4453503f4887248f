"""Draws the numbers behind metrics: for each that has some, a curve or bars."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vaezoo.runs.report.pictures import ACCENT
from vaezoo.utils.figures import figure_png

_COLUMNS = 3
_WIDTH, _HEIGHT = 3.6, 2.6  # inches of one plot
_ERRORS = 1.96
"""How many standard errors a whisker reaches to each side: a 95 % interval."""


def series(evaluation: Mapping[str, Any]) -> bytes | None:
    """A PNG with a plot for each metric that has a series; None if none has.

    Args:
        evaluation: in the format of ``evaluation.json``.
    """
    from matplotlib.figure import Figure

    rows = {name: row for name, row in evaluation["metrics"].items() if row.get("series")}
    if not rows:
        return None
    columns = min(_COLUMNS, len(rows))
    lines = -(-len(rows) // columns)
    figure = Figure(figsize=(columns * _WIDTH, lines * _HEIGHT), layout="constrained")
    for place, (name, row) in enumerate(rows.items(), 1):
        axes = figure.add_subplot(lines, columns, place)
        _plot(axes, row["series"])
        axes.set_title(name.replace("_", " "), fontsize=9)
        axes.set_ylabel(row["unit"], fontsize=8)
        axes.tick_params(labelsize=8)
    return figure_png(figure, dpi=110)


def _plot(axes: Any, drawn: Mapping[str, Any]) -> None:
    """One series, with its 95 % intervals."""
    errors = drawn["errors"] and [_ERRORS * error for error in drawn["errors"]]
    if drawn["kind"] == "bars":
        axes.bar(drawn["x"], drawn["values"], yerr=errors, color=ACCENT, ecolor="black")
    else:
        axes.errorbar(drawn["x"], drawn["values"], yerr=errors, color=ACCENT, marker="o")
        axes.set_xscale("log", base=2)
        axes.set_xticks(drawn["x"], [f"{x:g}" for x in drawn["x"]], minor=False)
    axes.set_xlabel(drawn["label"], fontsize=8)
