"""Charts as SVG, in the colours of the page that contains them, light or dark.

Series differ in colour, in dashes and in the shape of their points, so that no colour needs to be
told from another.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import escape

_WIDTH, _HEIGHT = 380, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 12, 40
COLOURS = 7
"""How many colours the page has; further series repeat them with other dashes."""
_DASHES = ("", "6 3", "2 3", "8 3 2 3")
_SHAPES = (
    "M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0",  # a disc
    "M-3.6,-3.6h7.2v7.2h-7.2z",
    "M0,-4.8L4.6,3.6H-4.6z",
    "M0,-5L5,0L0,5L-5,0z",
    "M0,4.8L4.6,-3.6H-4.6z",
    "M-1.4,-4.6h2.8v3.2h3.2v2.8h-3.2v3.2h-2.8v-3.2h-3.2v-2.8h3.2z",  # a cross
    "M-4.6,-1.6h9.2v3.2h-9.2z",
)


@dataclass(frozen=True)
class Series:
    """A line or a point of a chart.

    Attributes:
        index: of its colour, dashes and shape.
        label: what it is, shown where the pointer rests.
        x, y: the points.
    """

    index: int
    label: str
    x: Sequence[float]
    y: Sequence[float]


def line_chart(series: Sequence[Series], x_label: str, y_label: str) -> str:
    """Lines of several series over one another; single extreme values are cut off."""
    axes = _Axes(series, x_label, y_label, robust=True)
    lines = "".join(
        f'<polyline class="s{each.index % COLOURS}" fill="none" stroke-width="1.6" '
        f'stroke-dasharray="{_dashes(each.index)}" points="{axes.points(each)}">'
        f"<title>{_escape(each.label)}</title></polyline>"
        for each in series
    )
    return axes.svg(axes.clip(lines))


def plane(points: Sequence[Series], x_label: str, y_label: str) -> str:
    """Points in a plane, with lines on which the sum of both axes is constant."""
    axes = _Axes(points, x_label, y_label, robust=False)
    sums = [each.x[0] + each.y[0] for each in points]
    (x0, x1), drawn = axes.x_range, []
    for total in np.linspace(min(sums), max(sums), 4 if max(sums) > min(sums) else 1):
        ends = f"{axes.place(x0, total - x0)} {axes.place(x1, total - x1)}"
        drawn.append(f'<polyline class="grid" fill="none" stroke-width="1" points="{ends}"/>')
    marks = "".join(
        f'<g transform="translate({axes.place(each.x[0], each.y[0])})">{marker(each.index)}'
        f"<title>{_escape(each.label)}</title></g>"
        for each in points
    )
    return axes.svg(axes.clip("".join(drawn)) + marks)


def marker(index: int) -> str:
    """The shape of a series."""
    shape = _SHAPES[index % len(_SHAPES)]
    return f'<path class="f{index % COLOURS}" d="{shape}"/>'


def swatch(index: int) -> str:
    """The line and the shape of a series, for a legend."""
    return (
        '<svg class="swatch" viewBox="-14 -7 28 14" width="28" height="14" aria-hidden="true">'
        f'<path class="s{index % COLOURS}" stroke-width="1.6" fill="none" '
        f'stroke-dasharray="{_dashes(index)}" d="M-14,0H14"/>{marker(index)}</svg>'
    )


def _dashes(index: int) -> str:
    return _DASHES[(index // COLOURS + index) % len(_DASHES)]


class _Axes:
    """The ranges of both axes, and what is drawn around the data."""

    def __init__(
        self, series: Sequence[Series], x_label: str, y_label: str, *, robust: bool
    ) -> None:
        self.x_label, self.y_label = x_label, y_label
        xs = np.concatenate([np.asarray(each.x, float) for each in series])
        ys = np.concatenate([np.asarray(each.y, float) for each in series])
        ys = ys[np.isfinite(ys)]
        low, high = np.percentile(ys, [2, 98] if robust and len(ys) > 20 else [0, 100])
        self.x_range = _widen(xs.min(), xs.max(), 0.0 if robust else 0.12)
        self.y_range = _widen(low, high, 0.12)

    def place(self, x: float, y: float) -> str:
        """The position of a point."""
        (x0, x1), (y0, y1) = self.x_range, self.y_range
        right = _LEFT + (x - x0) / (x1 - x0) * (_WIDTH - _LEFT - _RIGHT)
        down = _HEIGHT - _BOTTOM - (y - y0) / (y1 - y0) * (_HEIGHT - _TOP - _BOTTOM)
        return f"{right:.1f},{np.clip(down, -1e4, 1e4):.1f}"

    def points(self, series: Series) -> str:
        """The positions of the points of a series that are finite."""
        pairs = zip(series.x, series.y, strict=True)
        return " ".join(self.place(x, y) for x, y in pairs if math.isfinite(y))

    def clip(self, content: str) -> str:
        """A drawing without what is outside of the axes."""
        box = f'x="{_LEFT}" y="{_TOP}"'
        width, height = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
        return (
            f'<svg {box} width="{width}" height="{height}" '
            f'viewBox="{_LEFT} {_TOP} {width} {height}">{content}</svg>'
        )

    def svg(self, content: str) -> str:
        """The whole chart."""
        middle = _TOP + (_HEIGHT - _TOP - _BOTTOM) / 2
        texts = (
            f'<text x="{(_WIDTH + _LEFT) / 2}" y="{_HEIGHT - 6}" text-anchor="middle">'
            f"{_escape(self.x_label)}</text>"
            f'<text transform="translate(13,{middle}) rotate(-90)" text-anchor="middle">'
            f"{_escape(self.y_label)}</text>"
        )
        name = _escape(f"{self.y_label} over {self.x_label}")
        return (
            f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{name}">'
            f"{''.join(self._grid())}{content}{texts}</svg>"
        )

    def _grid(self) -> Iterator[str]:
        """Lines and numbers of both axes."""
        for tick in _ticks(*self.y_range):
            _, down = self.place(self.x_range[0], tick).split(",")
            yield f'<path class="grid" d="M{_LEFT},{down}H{_WIDTH - _RIGHT}"/>'
            yield f'<text x="{_LEFT - 6}" y="{float(down) + 4}" text-anchor="end">{tick:g}</text>'
        for tick in _ticks(*self.x_range):
            right, _ = self.place(tick, self.y_range[0]).split(",")
            low = _HEIGHT - _BOTTOM
            yield f'<path class="grid" d="M{right},{low}v4"/>'
            yield f'<text x="{right}" y="{low + 17}" text-anchor="middle">{tick:g}</text>'


def _widen(low: float, high: float, share: float) -> tuple[float, float]:
    """A range with a margin on both sides, which is never empty."""
    margin = share * (high - low)
    if high <= low:
        margin = max(abs(low) * 0.1, 1.0)
    return float(low - margin), float(high + margin)


def _ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About so many round numbers within a range."""
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * each for each in (1, 2, 5, 10) if power * each >= rough)
    first, last = math.ceil(low / step), math.floor(high / step)
    return [round(i * step, 12) for i in range(first, last + 1)]


def _escape(text: str) -> str:
    return str(escape(text))
