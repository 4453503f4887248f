"""Draws series of named channels: an axis for each channel, over the time of the steps.

Shapes: T steps, D channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from vaezoo.data.cells import is_number
from vaezoo.data.dataspec import DataSpec, Field
from vaezoo.runs.report.pictures import INK, SECOND, new_figure
from vaezoo.utils.errors import printable

_MAX_PANELS, _MAX_COLUMNS, _MAX_LETTERS = 40, 4, 24
_SECONDS = (("days", 86_400), ("hours", 3_600), ("minutes", 60))
"""Units of time, and how many seconds they have."""


def has_channels(data: DataSpec) -> bool:
    """Whether the columns of sequences are channels with names other than their numbers."""
    names = [field.name for field in data.fields]
    has_all = len(names) == data.shape[-1] and data.support != "one-hot"
    return has_all and not all(map(is_number, names))


def max_series(data: DataSpec) -> int:
    """How many series one picture shows."""
    return max(1, _MAX_PANELS // data.shape[-1])


def draw_channels(
    data: DataSpec,
    originals: Sequence[Tensor],
    reconstructions: Sequence[Tensor] | None,
    names: Sequence[str],
) -> Any:
    """Draws series side by side, with their channels below each other.

    Args:
        data: describes them.
        originals: ``[T, D]`` each, in the units of the source; NaN leaves a gap.
        reconstructions: as ``originals``; dashed.
        names: of the classes of the series; empty without classes.
    """
    fields = data.fields[:_MAX_PANELS]
    columns = min(_MAX_COLUMNS, len(originals))
    blocks = -(-len(originals) // columns)
    fig = new_figure(max(5.0, 3.0 * columns), 1.15 * blocks * len(fields) + 0.5)
    axes = fig.subplots(blocks * len(fields), columns, squeeze=False)
    scale, label = _time_axis(data.step, max(map(len, originals)))
    for i in range(blocks * columns):
        block, column = divmod(i, columns)
        panels = axes[block * len(fields) : (block + 1) * len(fields), column]
        if i >= len(originals):
            for panel in panels:
                panel.set_axis_off()
            continue
        other = None if reconstructions is None else reconstructions[i]
        _draw_one(panels, originals[i], other, scale)
        if column == 0:
            for panel, field in zip(panels, fields, strict=True):
                panel.set_ylabel(_label(field), fontsize=8, color=INK)
        if names:
            panels[0].set_title(names[i], loc="left", fontsize=9, color=INK)
        panels[-1].set_xlabel(label, fontsize=8)
    for d in range(len(fields)):
        _share_limits(axes[d :: len(fields)].flat)
    fig.align_ylabels(axes[:, 0])
    if reconstructions is not None:
        lines, labels = axes[0][0].lines[:2], ["original", "reconstruction"]
        fig.legend(lines, labels, fontsize=8, frameon=False, ncols=2, loc="outside upper right")
    if len(fields) < len(data.fields):
        fig.suptitle(f"the first {len(fields)} of {len(data.fields):,} channels", fontsize=9)
    return fig


def _draw_one(panels: Any, original: Tensor, reconstruction: Tensor | None, scale: float) -> None:
    """Draws the channels of one series ``[T, D]``, a panel each."""
    time = np.arange(len(original)) * scale
    for d, panel in enumerate(panels):
        values = original[:, d].numpy()
        # a value between two gaps has no line
        gap = np.isnan(np.pad(values, 1, constant_values=np.nan))
        alone = ~gap[1:-1] & gap[:-2] & gap[2:]
        panel.plot(time, values, color=INK, linewidth=1.1)
        if reconstruction is not None:
            line = reconstruction[:, d].numpy()
            panel.plot(time, line, color=SECOND, linewidth=1.1, linestyle="--")
        panel.plot(time[alone], values[alone], ".", color=INK, markersize=3)
        panel.tick_params(labelsize=7, labelbottom=d == len(panels) - 1)
        panel.grid(alpha=0.25, linewidth=0.6)
        for side in ("top", "right"):
            panel.spines[side].set_visible(False)


def _share_limits(panels: Any) -> None:
    """Gives panels of one channel the same range of values."""
    shown = [panel for panel in panels if panel.axison]
    limits = np.array([panel.get_ylim() for panel in shown])
    for panel in shown:
        panel.set_ylim(limits[:, 0].min(), limits[:, 1].max())


def _label(field: Field) -> str:
    """The name of a channel, with its unit unless its name has it."""
    name = field.name
    if field.unit and f"{field.unit}]" not in name and f"{field.unit})" not in name:
        name = f"{name} [{field.unit}]"
    if len(name) > _MAX_LETTERS:
        name = name[: _MAX_LETTERS - 1] + "\N{HORIZONTAL ELLIPSIS}"
    return printable(name).replace("$", r"\$")


def _time_axis(step: Field | None, steps: int) -> tuple[float, str]:
    """The distance of two steps on the axis of times, and its label."""
    if step is None:
        return 1.0, "step"
    if step.unit == "s":
        for unit, seconds in _SECONDS:
            if steps * step.scale >= 2 * seconds:
                return step.scale / seconds, f"time, {unit}"
        return step.scale, "time, s"
    unit = f", {step.unit}" if step.unit and f"[{step.unit}]" not in step.name else ""
    return step.scale, printable(f"{step.name}{unit}").replace("$", r"\$")
