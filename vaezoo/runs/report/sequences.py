"""Draws sequences as piano-rolls, lines or text, and the rate of latent variables per step.

Shapes: n sequences, T steps, D values per step, K samples, B examples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from vaezoo.data.batch import Batch
from vaezoo.data.dataspec import DataSpec
from vaezoo.data.symbols import decode_symbols
from vaezoo.model.trace import Site
from vaezoo.runs.report.channels import draw_channels, has_channels, max_series
from vaezoo.runs.report.pictures import ACCENT, INK, SECOND, new_figure, style_axes
from vaezoo.utils.errors import printable
from vaezoo.utils.figures import figure_png

_MAX_PANELS, _MAX_TEXT_LINES = 40, 200
"""The number of sequences in one picture: as panels, and as lines of text."""
_MAX_CHARACTERS = 110
"""The number of characters in a line of text."""
_COLLAPSED_PER_STEP = 0.01
"""The rate below which a variable with steps is collapsed, in nats per dimension and step."""
_COLLAPSED_PER_SEQUENCE = 1.0
"""The rate below which a variable without steps is collapsed, in nats."""

REMEDIES = (
    "increase the weight of the KL gradually "
    "(weight: {type: linear, start: 0.0, end: 1.0, steps: ...})",
    "do not penalize the first nats of each dimension (regularizer free-bits of vaezoo-beta)",
)
"""Remedies against posterior collapse."""
HIDE_STEPS = (
    "hide random steps from the decoder (option word_dropout of vaezoo-vrae's recurrent latents)"
)
"""A remedy for models with one latent variable per sequence."""


def picture(data: DataSpec, examples: Batch, reconstructions: Tensor | None = None) -> bytes:
    """Draws sequences below each other, with the names of their classes.

    Binary and one-hot steps are drawn as piano-rolls, numbers as lines, symbols as text, and named
    channels each on an axis of its own. If there are too many sequences for one picture, a label
    gives their number.

    Args:
        data: describes the examples.
        examples: ``x`` ``[n, T, D]`` in the units of the source; masked steps are not drawn.
        reconstructions: ``[n, T, D]`` in the units of the source; drawn to the right of
            piano-rolls, as dashed lines, or as text in another colour.
    """
    most = max_series(data) if has_channels(data) else _MAX_PANELS
    n = min(_MAX_TEXT_LINES if data.symbols else most, len(examples))
    batch = shown = examples.select(slice(n))
    if batch.mask is not None:  # a panel without any step cannot be drawn: keeps the first one
        mask = torch.cat([torch.ones_like(batch.mask[:, :1]), batch.mask[:, 1:]], 1)  # [n, T, ...]
        batch = shown = replace(batch, mask=mask)
        if mask.dim() == 3:  # a hidden cell is a gap
            hidden = ~examples.select(slice(n)).mask
            shown = replace(batch, x=batch.x.masked_fill(hidden, torch.nan))
    originals = _to_sequences(shown)
    others = None
    if reconstructions is not None:
        others = _to_sequences(replace(batch, x=reconstructions[:n]))
    labels = batch.condition if data.classes else None
    names = []
    if labels is not None and labels.dim() == 1:
        names = [data.classes[i] if i >= 0 else "" for i in labels.tolist()]
    if has_channels(data):
        fig = draw_channels(data, originals, others, names)
    elif data.symbols:
        fig = _draw_text(data.symbols, originals, others, names)
    elif data.support in ("binary", "one-hot"):
        fig = _draw_rolls(originals, others, names)
    else:
        fig = _draw_lines(originals, others, names)
    if n < len(examples):
        fig.supxlabel(f"the first {n} of {len(examples):,}", fontsize=9, color=INK)
    return figure_png(fig)


def _to_sequences(batch: Batch) -> list[Tensor]:
    return [x.detach().float().cpu() for x in batch.sequences()]


def _new_panels(rows: int, columns: int, height: float) -> tuple[Any, Any]:
    fig = new_figure(10, height * rows + 0.3)
    sharex: Literal["row", "none"] = "row" if columns == 2 else "none"
    return fig, fig.subplots(rows, columns, squeeze=False, sharex=sharex, sharey=True)


def _label_rows(axes: Any, names: list[str]) -> None:
    """Writes the name of its class at each row of panels."""
    for row, name in zip(axes, names, strict=False):
        row[0].set_ylabel(name, fontsize=9, color=INK)


def _draw_rolls(
    originals: list[Tensor], reconstructions: list[Tensor] | None, names: list[str]
) -> Any:
    """Draws steps to the right and dimensions upward, without the unused dimensions."""
    is_on = torch.cat(originals + (reconstructions or [])) > 0.5  # [all steps, D]
    used = is_on.any(0).nonzero().flatten()  # [used dimensions]
    last = is_on.shape[1] - 1
    low, high = (int(used.min()), int(used.max())) if len(used) else (0, last)
    low, high = max(0, low - 2), min(last, high + 2)
    columns = [originals] if reconstructions is None else [originals, reconstructions]
    fig, axes = _new_panels(len(originals), len(columns), 1.25)
    for column, sequences in enumerate(columns):
        for row, sequence in enumerate(sequences):
            panel = axes[row][column]
            panel.imshow(
                sequence.T.numpy(),  # [D, T]
                origin="lower",
                aspect="auto",
                cmap="Blues",
                vmin=0,
                vmax=1,
                interpolation="none",
            )
            panel.set_ylim(low - 0.5, high + 0.5)
            panel.tick_params(labelsize=7)
    if reconstructions is not None:
        for column, title in enumerate(("original", "reconstruction")):
            axes[0][column].set_title(title, loc="left", fontsize=10, color=INK)
    _label_rows(axes, names)
    axes[-1][0].set_xlabel("step", fontsize=9)
    return fig


def _draw_lines(
    originals: list[Tensor], reconstructions: list[Tensor] | None, names: list[str]
) -> Any:
    """Draws one panel per sequence and one line per dimension; reconstructions are dashed."""
    from matplotlib import colormaps

    fig, axes = _new_panels(len(originals), 1, 1.1)
    is_vector = originals[0].shape[1] > 1
    for row, sequence in enumerate(originals):
        panel = axes[row][0]
        marker = "o" if len(sequence) == 1 else None  # a line needs two points
        for d in range(min(sequence.shape[1], 10)):
            colour = colormaps["tab10"](d) if is_vector else INK
            panel.plot(sequence[:, d], color=colour, linewidth=1.2, marker=marker)
            if reconstructions is not None:
                colour = colour if is_vector else SECOND
                panel.plot(
                    reconstructions[row][:, d],
                    color=colour,
                    linewidth=1.2,
                    linestyle="--",
                    marker=marker,
                )
        panel.tick_params(labelsize=7)
        for side in ("top", "right"):
            panel.spines[side].set_visible(False)
    _label_rows(axes, names)
    axes[-1][0].set_xlabel("step", fontsize=9)
    return fig


def _draw_text(
    symbols: Sequence[str],
    originals: list[Tensor],
    reconstructions: list[Tensor] | None,
    names: list[str],
) -> Any:
    """Draws one line of text per sequence, with its reconstruction below in another colour."""
    width = max(map(len, names), default=-2) + 2
    lines = []
    for i, sequence in enumerate(originals):
        name = names[i] if names else ""
        lines.append((INK, name.ljust(width) + decode_symbols(sequence, symbols)))
        if reconstructions is not None:
            text = decode_symbols(reconstructions[i], symbols)
            lines.append((SECOND, " " * width + text))
    longest = min(_MAX_CHARACTERS, max(len(line) for _, line in lines))
    fig = new_figure(max(3.0, 0.064 * longest + 0.4), 0.24 * len(lines) + 0.2)
    axes = fig.subplots()
    axes.set_axis_off()
    axes.set_ylim(len(lines) - 0.4, -0.6)
    for row, (colour, line) in enumerate(lines):
        if len(line) > _MAX_CHARACTERS:
            line = line[: _MAX_CHARACTERS - 1] + "\N{HORIZONTAL ELLIPSIS}"
        axes.text(
            0, row, printable(line), color=colour, fontsize=8, family="monospace", va="center"
        )
    return fig


def _site_names(sites: tuple[Site, ...]) -> list[str]:
    """The names of latent variables: ``whole sequence``, or levels from the top."""
    names, level = [], 0
    for site in sites:
        level += site.mask is not None
        names.append("whole sequence" if site.mask is None else f"level {level}")
    return names


def rates(sites: tuple[Site, ...]) -> bytes:
    """Plots the mean KL of each latent variable at each step, in nats.

    A variable of the whole sequence is a horizontal line. A variable that exists only at every
    n-th step is plotted at these steps.
    """
    from torch.distributions import kl_divergence

    fig = new_figure(10, 3.0)
    axes = fig.subplots()
    colours = [ACCENT, SECOND, INK, "#059669", "#7c3aed"]
    for i, (site, name) in enumerate(zip(sites, _site_names(sites), strict=True)):
        colour = colours[i % len(colours)]
        if not site.has_density:
            continue
        if site.mask is None or site.log_q is not None:  # no KL of each step
            mean_kl = float(site.kl.mean())
            axes.axhline(mean_kl, color=colour, linestyle="--", label=f"{name} (total)")
            continue
        try:
            kl = kl_divergence(site.q, site.p)
        except NotImplementedError:
            kl = site.q.log_prob(site.z) - site.p.log_prob(site.z)
        kl, mask = kl.mean(0), site.mask  # [B, T]
        mean = (kl * mask).sum(0) / mask.sum(0).clamp(min=1)  # [T]
        steps = np.arange(len(mean)) * site.stride + 1
        marker = "o" if len(mean) == 1 else None
        axes.plot(steps, mean.cpu(), color=colour, linewidth=1.3, label=name, marker=marker)
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=8, frameon=False)
    style_axes(axes, "rate", "step", "nats")
    return figure_png(fig)


def remarks(sites: tuple[Site, ...]) -> list[str]:
    """Names the latent variables whose posterior has collapsed, and possible remedies."""
    lines = []
    for site, name in zip(sites, _site_names(sites), strict=True):
        if not site.has_density:
            continue
        steps = 1.0 if site.mask is None else float(site.mask.sum(1).float().mean())
        rate = float(site.kl.mean()) / steps
        threshold, unit = _COLLAPSED_PER_SEQUENCE, ""
        if site.mask is not None:
            threshold = _COLLAPSED_PER_STEP * site.z.shape[-1]
            unit = " per step" if site.stride == 1 else f" every {site.stride} steps"
        if rate < threshold:
            lines.append(
                f"Posterior collapse: the rate of the latent variable '{name}' is only "
                f"{rate:.3f} nats{unit}."
            )
    is_single = len(sites) == 1 and sites[0].mask is None
    remedies = (*REMEDIES, HIDE_STEPS) if is_single else REMEDIES
    return [*lines, f"Possible remedies: {'; '.join(remedies)}."] if lines else []
