"""Draws docs/zoo.png, a sheet of what the pretrained models generate.

python docs/zoo_sheet.py
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

import vaezoo
from vaezoo.evaluation.latent_space import dimension_rates
from vaezoo.runs.opening import open_weights
from vaezoo.runs.report.pictures import grid

FILE = Path(__file__).with_name("zoo.png")
INK = "#1f2933"


def sheet(images: Tensor, columns: int) -> Image.Image:
    """Images ``[n, C, H, W]`` in rows of so many columns."""
    return Image.open(io.BytesIO(grid(images, columns))).convert("RGB")


def draw_image(axes: Axes, title: str, picture: Image.Image) -> None:
    """Shows one panel with a picture."""
    axes.imshow(np.asarray(picture), interpolation="nearest")
    draw_title(axes, title)


def draw_title(axes: Axes, title: str) -> None:
    """Writes the title of a panel and removes its axes."""
    axes.set_title(title, loc="left", fontsize=9, color=INK, family="monospace")
    axes.set_axis_off()
    axes.set_anchor("NW")


def digits() -> Image.Image:
    """Samples of the conditional VAE, a column for each digit."""
    model = vaezoo.load("cvae-mnist")
    return sheet(model.sample(50, torch.arange(50) % 10, seed=1), 10)


def completions() -> Image.Image:
    """Test images whose bottom left quadrant is observed, each completed three times."""
    run = open_weights("cvae-quadrants-mnist")
    batch = run.data("test").first(15)
    assert batch.condition is not None
    known = batch.condition[:, :1] + 0.25 * (
        1 - batch.condition[:, 1:]
    )  # [B, 1, 28, 28], the unknown part grey
    samples = [run.model.sample(15, batch.condition, seed=seed) for seed in range(3)]
    columns = torch.stack([known, *samples], 1)  # [B, 4, 1, 28, 28]
    return sheet(columns.flatten(0, 1), 12)


def colours() -> Image.Image:
    """Grey test images in the colours asked for."""
    run = open_weights("cvae-colored-mnist")
    batch = run.data("test").first(30)
    assert batch.condition is not None
    coloured = run.model.sample(30, batch.condition, seed=0)
    grey = batch.condition[:, :1].expand_as(coloured)
    return sheet(torch.stack([grey, coloured], 1).flatten(0, 1), 12)  # [B, 2, 3, 28, 28] to pairs


def traversals() -> Image.Image:
    """A sprite as each of the latent dimensions with the largest KL moves, a row for each."""
    run = open_weights("beta-vae-sprites")
    batch = run.data("test").first(256)
    sprite = int(batch.x.sum((1, 2, 3)).argmax())  # the largest shape shows the most
    with run.model.inference():
        order = dimension_rates(run.model, batch).argsort(descending=True)
    example = batch.select(slice(sprite, sprite + 1))
    return sheet(run.model.traverse(example, order[:5], 10).flatten(0, 1), 10)


def music() -> np.ndarray:
    """A sampled chorale as a piano-roll, time to the right, ``[keys, steps]``."""
    roll = vaezoo.load("hvrnn-jsb").sample(1, seed=2, steps=96)[0]  # [T, 88]
    return 1 - roll.T.flip(0).numpy()[18:64]


def names() -> str:
    """Sampled names of towns, a line for each country."""
    model = vaezoo.load("vrae-cities")
    lines = []
    for country in model.data.classes:
        samples = model.sample(4, condition=country, seed=3)
        lines.append(
            f"{country}  "
            + ", ".join(vaezoo.decode_symbols(name, model.data.symbols) for name in samples)
        )
    return "\n".join(lines)


def main() -> None:
    """Writes the sheet."""
    figure = Figure((10, 4.2), layout="constrained", dpi=110, facecolor="white")
    panels = figure.subplots(2, 3)
    draw_image(panels[0][0], "cvae/mnist: digits on demand", digits())
    draw_image(panels[0][1], "cvae/quadrants-mnist: completions", completions())
    draw_image(panels[0][2], "cvae/colored-mnist: grey to colour", colours())
    draw_image(panels[1][0], "beta-vae/sprites: traversals", traversals())
    roll = panels[1][1]
    roll.imshow(music(), cmap="gray", aspect="auto", interpolation="nearest", vmin=-0.4, vmax=1)
    draw_title(roll, "hvrnn/jsb: a sampled chorale")
    panels[1][2].text(0, 0.95, names(), fontsize=7, family="monospace", va="top", color=INK)
    draw_title(panels[1][2], "vrae/cities: names of towns")
    figure.savefig(FILE)


if __name__ == "__main__":
    main()
