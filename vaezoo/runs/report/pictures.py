"""Draws the pictures of a run as PNG bytes."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from vaezoo.data.dataspec import DataSpec
from vaezoo.utils.figures import figure_png

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, ACCENT, SECOND, FAINT = "#1f2933", "#2563eb", "#d97706", "#c5ccd3"
"""The colours of lines."""
CURVES = ("elbo", "distortion", "rate")
"""The keys of the records that are plotted."""
_GAP = 1
"""The width of the white lines between images, in pixels."""


def is_image(data: DataSpec) -> bool:
    """Whether examples are greyscale or colour images, with or without an alpha channel."""
    is_shown = data.support in ("binary", "unit")
    return len(data.shape) == 3 and data.shape[0] in (1, 3, 4) and is_shown


def grid(images: Tensor, columns: int, zoom: int = 1) -> bytes:
    """A PNG of images in rows, with white lines between them.

    Args:
        images: ``[n, C, H, W]`` in [0, 1], with C = 1 or 3, or 4 with alpha.
        columns: the number of images in a row.
        zoom: the width of each image pixel in the picture.
    """
    from PIL import Image

    if images.shape[1] == 4:  # over white, as transparent images are read
        images = images[:, :3] * images[:, 3:] + 1 - images[:, 3:]
    n, channels, height, width = images.shape
    rows = -(-n // columns)
    shape = (rows * (height + _GAP) + _GAP, columns * (width + _GAP) + _GAP, channels)
    sheet = np.full(shape, 255, np.uint8)
    pixels = (images.detach().float().cpu().clamp(0, 1).numpy() * 255).round().astype(np.uint8)
    for i, image in enumerate(pixels.transpose(0, 2, 3, 1)):  # [n, H, W, C]
        top = (i // columns) * (height + _GAP) + _GAP
        left = (i % columns) * (width + _GAP) + _GAP
        sheet[top : top + height, left : left + width] = image
    picture = Image.fromarray(sheet[..., 0] if channels == 1 else sheet)
    size = (picture.width * zoom, picture.height * zoom)
    picture = picture.resize(size, Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def zoom_for(images: Tensor, columns: int, width: int = 900) -> int:
    """The zoom with which a grid of images is about ``width`` pixels wide."""
    return max(1, round(width / (columns * (images.shape[-1] + _GAP))))


def stack(sheets: Sequence[bytes]) -> bytes:
    """One PNG of several, each below the one before."""
    from PIL import Image

    images = [Image.open(io.BytesIO(sheet)).convert("RGB") for sheet in sheets]
    size = (max(image.width for image in images), sum(image.height for image in images))
    picture, top = Image.new("RGB", size, "white"), 0
    for image in images:
        picture.paste(image, (0, top))
        top += image.height
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def pairs(originals: Tensor, reconstructions: Tensor, columns: int) -> Tensor:
    """Rows of originals, each followed by the row of its reconstructions, ``[m, C, H, W]``.

    Rows with fewer than ``columns`` images are filled with white ones, so that each reconstruction
    is below its original.
    """
    rows = []
    for start in range(0, len(originals), columns):
        for images in (originals, reconstructions):
            row = images[start : start + columns]
            rows += [row, row.new_ones(columns - len(row), *row.shape[1:])]
    return torch.cat(rows)


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of a size in inches."""
    from matplotlib.figure import Figure

    return Figure((width, height), layout="constrained", dpi=130)


def style_axes(axes: Any, title: str, x: str, y: str) -> None:
    """Sets title, labels and grid of a plot in the common style."""
    axes.set_title(title, loc="left", fontsize=10, color=INK)
    axes.set_xlabel(x, fontsize=9)
    axes.set_ylabel(y, fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.25, linewidth=0.6)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def curves(records: Sequence[dict[str, Any]]) -> bytes:
    """Plots ELBO, distortion and rate over epochs, for the training and validation split.

    Each stage has a row of its own; one without distortion has its loss in place of the ELBO.
    """
    stages = list(dict.fromkeys(record.get("stage", "") for record in records)) or [""]
    fig = new_figure(10, 3.2 * len(stages))
    for row, stage in zip(fig.subplots(len(stages), 3, squeeze=False), stages, strict=True):
        own = [record for record in records if record.get("stage", "") == stage]
        decodes = not own or any("distortion" in record for record in own)
        for axes, key in zip(row, CURVES if decodes else ("loss", *CURVES[1:]), strict=True):
            _plot_curve(axes, own, key)
            axes.set_visible(any(key in record for record in own))
            style_axes(axes, f"{stage}: {key}" if stage else key, "epoch", "nats per example")
        # the legend is where every model has curves
        axes = row[1 if decodes else 0]
        if axes.lines:  # records of a damaged file may have none
            axes.legend(fontsize=8, frameon=False, loc="upper right")
    return figure_png(fig)


def _plot_curve(axes: Any, records: Sequence[dict[str, Any]], key: str) -> None:
    """Plots one key of the records, for the training and validation split."""
    for split, colour, width in (("train", ACCENT, 0.9), ("validation", SECOND, 1.6)):
        points = [(r["epoch"], r[key]) for r in records if r["split"] == split and key in r]
        if points:
            marker = "o" if split == "validation" and len(points) < 40 else None
            xs, ys = zip(*points, strict=True)
            axes.plot(
                xs, ys, color=colour, linewidth=width, label=split, marker=marker, markersize=3
            )
    _limit_y_axis(axes, [r[key] for r in records if key in r and math.isfinite(r[key])])


def _limit_y_axis(axes: Any, values: Sequence[float]) -> None:
    """Cuts off the large values of the first steps, which would flatten the curves."""
    if len(values) > 10:
        low, high = np.percentile(values[2:], [0, 98]), np.percentile(values[2:], [2, 100])
        bottom, top = min(low[0], high[0]), max(low[1], high[1])
        settled = np.percentile(values, [3, 97])
        margin = 0.15 * (settled[1] - settled[0] + 1e-9)
        axes.set_ylim(max(bottom, settled[0] - margin), min(top, settled[1] + margin))


def latent_map(means: np.ndarray, labels: np.ndarray | None, classes: Sequence[str]) -> bytes:
    """Plots posterior means on their first two principal axes, coloured by class.

    Args:
        means: posterior means, ``[n, D]``.
        labels: class labels, below 0 where unknown, ``[n]``; or None.
        classes: the name of each class.
    """
    fig = new_figure(6.4, 5.2)
    axes = fig.subplots()
    size = float(np.clip(8000 / len(means), 4, 30))
    centred = means - means.mean(0)
    if means.shape[1] > 2 and len(means) > 1:
        _, singular, directions = np.linalg.svd(centred, full_matrices=False)
        share = 100 * singular[:2] ** 2 / (singular**2).sum()
        points = centred @ directions[:2].T  # [n, D] @ [D, 2] -> [n, 2]
        names = [f"principal axis {i + 1} ({s:.0f} % of variance)" for i, s in enumerate(share)]
    else:
        points = np.pad(means, ((0, 0), (0, max(0, 2 - means.shape[1]))))
        names = ["z1", "z2"]
    if labels is None or len(classes) > 20:
        axes.scatter(points[:, 0], points[:, 1], s=size, alpha=0.5, color=ACCENT, linewidths=0)
    else:
        from matplotlib import colormaps

        palette = colormaps["tab10" if len(classes) <= 10 else "tab20"]
        named = [*enumerate(classes), *([(-1, "no label")] if (labels < 0).any() else [])]
        for label, _ in named:
            members = points[labels == label]
            axes.scatter(
                members[:, 0],
                members[:, 1],
                s=size,
                alpha=0.6,
                color=palette(label) if label >= 0 else FAINT,
                label="class",  # matplotlib leaves out labels that begin with "_"
                linewidths=0,
            )
        legend = axes.legend(
            fontsize=8, frameon=False, markerscale=3, loc="center left", bbox_to_anchor=(1, 0.5)
        )
        for text, (_, name) in zip(legend.get_texts(), named, strict=True):
            text.set_text(name)
    style_axes(axes, "posterior means of the test split", names[0], names[1])
    return figure_png(fig)


def vectors(originals: np.ndarray, reconstructions: np.ndarray) -> bytes:
    """Plots examples that are not images as lines, each with its reconstruction."""
    count = min(8, len(originals))
    fig = new_figure(10, 1.1 * count)
    for i, axes in enumerate(np.atleast_1d(fig.subplots(count, 1, sharex=True))):
        # Each line has the values of one example, [values per example].
        axes.plot(originals[i].ravel(), color=INK, linewidth=1.2, label="original")
        axes.plot(reconstructions[i].ravel(), color=SECOND, linewidth=1.2, label="reconstruction")
        axes.tick_params(labelsize=7)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    fig.axes[0].legend(fontsize=8, frameon=False, ncols=2)
    return figure_png(fig)


def rate_distortion(points: Sequence[tuple[float, float, str]]) -> bytes:
    """Plots runs by their validation rate and distortion, with lines of equal ELBO.

    Args:
        points: for each run its rate, its distortion and a label.
    """
    fig = new_figure(6.4, 5.0)
    axes = fig.subplots()
    rates, distortions = np.array([p[0] for p in points]), np.array([p[1] for p in points])
    margin = 0.08 * max(float(np.ptp(rates)), float(np.ptp(distortions)), 1.0)
    height = max(float(np.ptp(distortions)) + 2 * margin, 1e-9)
    low, high = max(0.0, rates.min() - margin), rates.max() + margin
    for total in np.linspace((rates + distortions).min(), (rates + distortions).max(), 5):
        axes.plot([low, high], [total - low, total - high], color=INK, alpha=0.15, linewidth=0.8)
    axes.scatter(rates, distortions, color=ACCENT, s=28, zorder=2)
    axes.set_xlim(low, high)
    axes.set_ylim(distortions.min() - margin, distortions.max() + margin)
    labelled = np.zeros((0, 2))  # positions of labels, relative to the size of the axes
    for rate, distortion, name in sorted(points):
        position = np.array([rate / max(high - low, 1e-9), distortion / height])
        if len(labelled) and (np.abs(labelled - position) < (0.12, 0.03)).all(-1).any():
            continue  # the label would overlap another one
        labelled = np.vstack([labelled, position])
        to_left = rate > low + 0.8 * (high - low)
        shift, side = ((-5, 4), "right") if to_left else ((5, 4), "left")
        axes.annotate(
            name,
            (rate, distortion),
            xytext=shift,
            textcoords="offset points",
            fontsize=7,
            ha=side,
        )
    title = "validation split; the ELBO is constant along each grey line"
    style_axes(axes, title, "rate, nats per example", "distortion, nats per example")
    return figure_png(fig)
