"""Commands that look into the latent space of a trained model."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import click

from vaezoo.cli.models import FORMS, device_option, form_for, open_run, out_option, run_argument, split_option, write
from vaezoo.cli.output import line_printer
from vaezoo.utils.errors import UsageError


@click.command("encode")
@run_argument
@split_option
@click.option("-n", "count", default=0, type=click.IntRange(0), help="How many; 0 for all.")
@out_option("latents.npz", "A .npz with the arrays mean and label, or a .csv.")
@device_option
@click.pass_context
def encode_command(ctx: click.Context, run: Path, split: str, count: int, out: Path, device: str) -> None:
    """Write the posterior means of a split."""
    import numpy as np
    import torch

    from vaezoo.utils.files import atomic_write

    if out.suffix not in (".npz", ".csv"):
        raise UsageError(f"{out}: write a .npz or a .csv")
    opened = open_run(run, device)
    means, labels = [], []
    with torch.inference_mode():
        for batch in opened.data(split).ordered(limit=count or None):
            means.append(opened.model.posterior_mean(batch).cpu().numpy())
            if batch.condition is not None and batch.condition.dim() == 1:
                labels.append(batch.condition.cpu().numpy())
    arrays: dict[str, Any] = {"mean": np.concatenate(means)} | ({"label": np.concatenate(labels)} if labels else {})
    with atomic_write(out) as temporary:
        if out.suffix == ".npz":
            with open(temporary, "wb") as binary:
                np.savez_compressed(binary, **arrays)
        else:
            _write_csv(temporary, arrays)
    line_printer(ctx)(f"wrote {len(arrays['mean']):,} latents to {out}")


def _write_csv(path: Path, arrays: dict[str, Any]) -> None:
    with open(path, "w", newline="", encoding="utf-8") as opened:
        writer = csv.writer(opened)
        names = [f"z{i}" for i in range(arrays["mean"].shape[1])]
        writer.writerow([*names, *(["label"] if "label" in arrays else [])])
        for i, row in enumerate(arrays["mean"].tolist()):
            writer.writerow([*row, *([int(arrays["label"][i])] if "label" in arrays else [])])


@click.command("traverse")
@run_argument
@click.option("--index", default=0, show_default=True, type=click.IntRange(0), help="Which example of the split.")
@click.option("--dimensions", "count", type=click.IntRange(1), help="How many rows.  [default: 10, of sequences 3]")
@click.option("--steps", default=11, show_default=True, type=click.IntRange(2, 1000), help="Values in a row.")
@click.option("--span", default=3.0, show_default=True, help="A row goes from -SPAN to SPAN.")
@split_option
@out_option("traversals.png", FORMS)
@device_option
@click.pass_context
def traverse_command(
    ctx: click.Context,
    run: Path,
    index: int,
    count: int | None,
    steps: int,
    span: float,
    split: str,
    out: Path,
    device: str,
) -> None:
    """Move one latent dimension of an example after another, a row for each, those with the largest KL first."""
    from vaezoo.evaluation.latent_space import dimension_rates

    opened = open_run(run, device)
    form = form_for(opened, out)
    data = opened.data(split)
    if index >= len(data):
        raise UsageError(f"the {split} split has {len(data):,} examples, numbered from 0")
    with opened.model.inference():
        try:
            rates = dimension_rates(opened.model, data.first(min(1000, len(data))))
        except NotImplementedError as error:
            raise UsageError(f"traversals are not {error}") from error
    order = rates.argsort(descending=True)[: count or (3 if opened.model.data.is_sequence else 10)]
    sheet = opened.model.traverse(data.first(index + 1).part(index, index + 1), order, steps, span)
    said = write(form, out, sheet.flatten(0, 1), steps)
    line_printer(ctx)(f"{said}: dimensions {', '.join(f'{d} ({rates[d]:.2f} nats)' for d in order.tolist())}")


@click.command("interpolate")
@run_argument
@click.option("--from", "first", default=0, show_default=True, type=click.IntRange(0), help="An index in the split.")
@click.option("--to", "second", default=1, show_default=True, type=click.IntRange(0), help="Another.")
@click.option("--steps", default=12, show_default=True, type=click.IntRange(2, 1000), help="Points on the way.")
@split_option
@out_option("interpolation.png", FORMS)
@device_option
@click.pass_context
def interpolate_command(
    ctx: click.Context, run: Path, first: int, second: int, steps: int, split: str, out: Path, device: str
) -> None:
    """Show the way between two examples of a split, straight through the latent space."""
    opened = open_run(run, device)
    form = form_for(opened, out)
    data = opened.data(split)
    if max(first, second) >= len(data):
        raise UsageError(f"the {split} split has {len(data):,} examples, numbered from 0")
    batch = data.first(max(first, second) + 1)
    ends = (batch.part(i, i + 1) for i in (first, second))
    one, other = ends
    condition = one.condition if opened.model.conditioner else None
    try:
        path = opened.model.interpolate(one.x, other.x, steps, condition, (one.mask, other.mask))
    except NotImplementedError as error:
        raise UsageError(f"no way between examples: {error}") from error
    line_printer(ctx)(write(form, out, path[0], steps))
