"""Pictures of sequences: piano-rolls, lines, text, and what each latent variable says at each step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vaezoo.data.batch import Batch
from vaezoo.data.dataspec import DataSpec
from vaezoo.data.symbols import decode_symbols
from vaezoo.model.trace import Site
from vaezoo.runs.report.pictures import ACCENT, INK, SECOND, figure, png, style

_PANELS, _LINES = 40, 200  # what one picture has room for
_CHARACTERS = 110
_COLLAPSED = 0.01  # nats per dimension and step
_COLLAPSED_WHOLE = 1.0  # nats

REMEDIES = (
    "raise the weight of the KL slowly (weight: {type: linear, start: 0.0, end: 1.0, steps: ...})",
    "let some nats of each dimension go free (the regularizer free-bits of vaezoo-beta)",
)
HIDE_STEPS = "hide steps from the decoder (word_dropout of vaezoo-vrae's recurrent latents)"


def picture(data: DataSpec, examples: Batch, second: Tensor | None = None) -> bytes:
    """Sequences, one below another: rolls of binary steps, lines of numbers, or lines of text, with their class.

    It says how many there are where it has no room for all of them.

    Args:
        data: what one example is.
        examples: ``x`` ``[n, T, D]`` in the units of the source; steps that a mask hides are left out.
        second: what each was reconstructed to, likewise: rolls beside it, lines dashed, text below in another colour.
    """
    n = min(_LINES if data.symbols else _PANELS, len(examples))
    few = examples.part(0, n)
    if few.mask is not None:  # a panel without a single step cannot be drawn
        few = replace(few, mask=torch.cat([torch.ones_like(few.mask[:, :1]), few.mask[:, 1:]], 1))
    shown = [x.detach().float().cpu() for x in few.sequences()]
    beside = None
    if second is not None:
        beside = [x.detach().float().cpu() for x in replace(few, x=second[:n]).sequences()]
    label = few.condition if data.classes else None
    names = [] if label is None or label.dim() > 1 else [data.classes[i] for i in label.tolist()]
    if data.symbols:
        drawn = _text(data.symbols, shown, beside, names)
    else:
        drawn = (_rolls if data.support in ("binary", "one-hot") else _lines)(shown, beside, names)
    if n < len(examples):
        drawn.supxlabel(f"the first {n} of {len(examples):,}", fontsize=9, color=INK)
    return png(drawn)


def _panels(rows: int, columns: int, height: float) -> tuple[Any, Any]:
    drawn = figure(10, height * rows + 0.3)
    return drawn, drawn.subplots(rows, columns, squeeze=False, sharex="row" if columns == 2 else False, sharey=True)


def _name(axes: Any, names: list[str]) -> None:
    """Writes its class beside each row of panels."""
    for row, name in zip(axes, names, strict=False):
        row[0].set_ylabel(name, fontsize=9, color=INK)


def _rolls(x: list[Tensor], second: list[Tensor] | None, names: list[str]) -> Any:
    """Time to the right, places upward, only as many of them as ever sound."""
    whole = torch.cat(x + (second or [])) > 0.5
    used = whole.any(0).nonzero().flatten()
    low, high = (int(used.min()), int(used.max())) if len(used) else (0, whole.shape[1] - 1)
    low, high = max(0, low - 2), min(whole.shape[1] - 1, high + 2)
    drawn, axes = _panels(len(x), 1 if second is None else 2, 1.25)
    for column, sequences in enumerate([x] if second is None else [x, second]):
        for row, sequence in enumerate(sequences):
            panel = axes[row][column]
            panel.imshow(
                sequence.T.numpy(), origin="lower", aspect="auto", cmap="Blues", vmin=0, vmax=1, interpolation="none"
            )
            panel.set_ylim(low - 0.5, high + 0.5)
            panel.tick_params(labelsize=7)
    _head(axes, second)
    _name(axes, names)
    axes[-1][0].set_xlabel("step", fontsize=9)
    return drawn


def _lines(x: list[Tensor], second: list[Tensor] | None, names: list[str]) -> Any:
    """One panel for each sequence and a line for each of its dimensions; reconstructions are dashed."""
    from matplotlib import colormaps

    drawn, axes = _panels(len(x), 1, 1.1)
    several = x[0].shape[1] > 1
    for row, sequence in enumerate(x):
        marker = "o" if len(sequence) == 1 else None  # a line of one point is none
        for d in range(min(sequence.shape[1], 10)):
            colour = colormaps["tab10"](d) if several else INK
            axes[row][0].plot(sequence[:, d], color=colour, linewidth=1.2, marker=marker)
            if second is not None:
                colour = colour if several else SECOND
                axes[row][0].plot(second[row][:, d], color=colour, linewidth=1.2, linestyle="--", marker=marker)
        axes[row][0].tick_params(labelsize=7)
        for side in ("top", "right"):
            axes[row][0].spines[side].set_visible(False)
    _name(axes, names)
    axes[-1][0].set_xlabel("step", fontsize=9)
    return drawn


def _text(symbols: Sequence[str], x: list[Tensor], second: list[Tensor] | None, names: list[str]) -> Any:
    width = max(map(len, names), default=-2) + 2
    lines = []
    for i, sequence in enumerate(x):
        lines.append((INK, (names[i] if names else "").ljust(width) + decode_symbols(sequence, symbols)))
        if second is not None:
            lines.append((SECOND, " " * width + decode_symbols(second[i], symbols)))
    longest = min(_CHARACTERS, max(len(line) for _, line in lines))
    drawn = figure(max(3.0, 0.064 * longest + 0.4), 0.24 * len(lines) + 0.2)
    axes = drawn.subplots()
    axes.set_axis_off()
    axes.set_ylim(len(lines) - 0.4, -0.6)
    for row, (colour, line) in enumerate(lines):
        shown = line if len(line) <= _CHARACTERS else line[: _CHARACTERS - 1] + "\N{HORIZONTAL ELLIPSIS}"
        axes.text(0, row, shown.replace("$", r"\$"), color=colour, fontsize=8, family="monospace", va="center")
    return drawn


def _head(axes: Any, second: list[Tensor] | None) -> None:
    if second is not None:
        for column, title in enumerate(("original", "reconstruction")):
            axes[0][column].set_title(title, loc="left", fontsize=10, color=INK)


def names_of(sites: tuple[Site, ...]) -> list[str]:
    """What each latent variable of a sequence is called: the whole, then levels from the top."""
    names, level = [], 0
    for site in sites:
        level += site.mask is not None
        names.append("whole sequence" if site.mask is None else f"level {level}")
    return names


def rates(sites: tuple[Site, ...]) -> bytes:
    """The mean KL of each latent variable at each step, in nats; one for the whole sequence as a level line.

    A slow one stands at the steps where it is drawn.
    """
    from torch.distributions import kl_divergence

    drawn = figure(10, 3.0)
    axes = drawn.subplots()
    colours = [ACCENT, SECOND, INK, "#059669", "#7c3aed"]
    for i, (site, name) in enumerate(zip(sites, names_of(sites), strict=True)):
        colour = colours[i % len(colours)]
        if site.mask is None:
            axes.axhline(float(site.kl.mean()), color=colour, linestyle="--", label=f"{name}, in all")
            continue
        try:
            kl = kl_divergence(site.q, site.p)
        except NotImplementedError:
            kl = site.q.log_prob(site.z) - site.p.log_prob(site.z)
        kl, mask = kl.mean(0), site.mask
        mean = (kl * mask).sum(0) / mask.sum(0).clamp(min=1)
        steps, marker = np.arange(len(mean)) * site.stride + 1, "o" if len(mean) == 1 else None
        axes.plot(steps, mean.cpu(), color=colour, linewidth=1.3, label=name, marker=marker)
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=8, frameon=False)
    style(axes, "rate", "step", "nats")
    return png(drawn)


def remarks(sites: tuple[Site, ...]) -> list[str]:
    """Which latent variables say next to nothing, and what helps."""
    found = []
    for site, name in zip(sites, names_of(sites), strict=True):
        ticks = 1.0 if site.mask is None else float(site.mask.sum(1).float().mean())
        rate = float(site.kl.mean()) / ticks
        if rate < (_COLLAPSED_WHOLE if site.mask is None else _COLLAPSED * site.z.shape[-1]):
            each = "" if site.mask is None else " per step" if site.stride == 1 else f" every {site.stride} steps"
            found.append(f"The posterior of the {name} has all but collapsed: it says {rate:.3f} nats{each}.")
    alone = len(sites) == 1 and sites[0].mask is None
    remedies = (*REMEDIES, HIDE_STEPS) if alone else REMEDIES
    return [*found, f"What helps against it: {'; '.join(remedies)}."] if found else []
