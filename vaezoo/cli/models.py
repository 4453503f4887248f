"""Commands that use a trained model."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vaezoo.cli.output import json_option, metrics_table, print_json, sayer
from vaezoo.errors import UsageError

if TYPE_CHECKING:
    import torch

    from vaezoo.runs import Run

_run = click.argument("run", type=click.Path(path_type=Path))
_device = click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or mps.")
_split = click.option("--split", type=click.Choice(["train", "validation", "test"]), default="test", show_default=True)


def _out(default: str, forms: str) -> Callable[[Any], Any]:
    return click.option("--out", type=click.Path(path_type=Path), default=default, show_default=True, help=forms)


def _open(path: Path, device: str) -> Run:
    from vaezoo.process import tune_allocator

    tune_allocator()
    from vaezoo.runs import open_run

    return open_run(path, device=device)


def _write_examples(path: Path, examples: torch.Tensor, columns: int) -> None:
    """A sheet of images, or the numbers themselves.

    Raises:
        UsageError: the file's ending says neither, or the data are no images.
    """
    import numpy as np

    from vaezoo.files import atomic
    from vaezoo.report.pictures import save_grid

    if path.suffix == ".png":
        if examples.dim() != 4 or examples.shape[1] not in (1, 3):
            raise UsageError(f"{path}: examples of shape {tuple(examples.shape[1:])} are no images; write .npz")
        save_grid(path, examples, columns)
    elif path.suffix == ".npz":
        with atomic(path) as temporary, open(temporary, "wb") as opened:
            np.savez_compressed(opened, x=examples.cpu().numpy())
    else:
        raise UsageError(f"{path}: write a .png or a .npz")


@click.command("evaluate")
@_run
@_split
@click.option(
    "--metric", "metrics", multiple=True, metavar="METRIC", help="Instead of the spec's; {type: nll, ...} works."
)
@_device
@json_option
@click.pass_context
def evaluate_command(
    ctx: click.Context, run: Path, split: str, metrics: tuple[str, ...], device: str, as_json: bool
) -> None:
    """Measure RUN on a split of its data, in nats per example.

    On the test split with the spec's own metrics, evaluation.json is written anew.
    """
    from vaezoo.files import write_json
    from vaezoo.spec.tree import parse

    opened = _open(run, device)
    chosen = [parse(metric, "--metric").plain() for metric in metrics]
    found = opened.evaluate(split, chosen or None)
    if split == "test" and not chosen:
        write_json(opened.directory.evaluation, found)
    print_json({"run": str(run), "evaluation": found}) if as_json else metrics_table(found)


@click.command("sample")
@_run
@click.option("-n", "count", default=64, show_default=True, type=click.IntRange(1, 1_000_000), help="How many.")
@_out("samples.png", "A .png sheet or a .npz with the array x.")
@click.option("--seed", default=0, show_default=True, help="Of the draw.")
@click.option("--draw", is_flag=True, help="Draw from p(x|z) too, instead of showing its mean.")
@_device
@click.pass_context
def sample_command(ctx: click.Context, run: Path, count: int, out: Path, seed: int, draw: bool, device: str) -> None:
    """Draw new examples from RUN's model: z from the prior, then p(x|z)."""
    model = _open(run, device).model
    if model.conditioner is not None:
        raise UsageError("this model is conditional; give conditions through Model.sample in Python")
    _write_examples(out, model.sample(count, mean=not draw, seed=seed), _square(count))
    sayer(ctx)(f"wrote {out}")


def _square(count: int) -> int:
    return max(1, min(32, round(count**0.5)))


@click.command("reconstruct")
@_run
@click.option("-n", "count", default=32, show_default=True, type=click.IntRange(1, 100_000), help="How many.")
@_split
@_out("reconstructions.png", "A .png sheet (originals above) or a .npz with the array x.")
@_device
@click.pass_context
def reconstruct_command(ctx: click.Context, run: Path, count: int, split: str, out: Path, device: str) -> None:
    """Show examples of a split, each above its reconstruction."""
    from vaezoo.report.pictures import pairs

    opened = _open(run, device)
    batch = opened.data(split).first(count)
    rebuilt = opened.model.reconstruct(batch.x, batch.condition, batch.mask)
    _write_examples(out, pairs(batch.x, rebuilt, 16) if out.suffix == ".png" else rebuilt, 16)
    sayer(ctx)(f"wrote {out}")


@click.command("encode")
@_run
@_split
@click.option("-n", "count", default=0, type=click.IntRange(0), help="How many; 0 for all.")
@_out("latents.npz", "A .npz with the arrays mean and label, or a .csv.")
@_device
@click.pass_context
def encode_command(ctx: click.Context, run: Path, split: str, count: int, out: Path, device: str) -> None:
    """Write the posterior means of a split."""
    import numpy as np
    import torch

    from vaezoo.files import atomic

    if out.suffix not in (".npz", ".csv"):
        raise UsageError(f"{out}: write a .npz or a .csv")
    opened = _open(run, device)
    means, labels = [], []
    with torch.inference_mode():
        for batch in opened.data(split).ordered(limit=count or None):
            means.append(opened.model.posterior_mean(batch).cpu().numpy())
            if batch.condition is not None and batch.condition.dim() == 1:
                labels.append(batch.condition.cpu().numpy())
    arrays: dict[str, Any] = {"mean": np.concatenate(means)} | ({"label": np.concatenate(labels)} if labels else {})
    with atomic(out) as temporary:
        if out.suffix == ".npz":
            with open(temporary, "wb") as binary:
                np.savez_compressed(binary, **arrays)
        else:
            _write_csv(temporary, arrays)
    sayer(ctx)(f"wrote {len(arrays['mean']):,} latents to {out}")


def _write_csv(path: Path, arrays: dict[str, Any]) -> None:
    with open(path, "w", newline="", encoding="utf-8") as opened:
        writer = csv.writer(opened)
        names = [f"z{i}" for i in range(arrays["mean"].shape[1])]
        writer.writerow([*names, *(["label"] if "label" in arrays else [])])
        for i, row in enumerate(arrays["mean"].tolist()):
            writer.writerow([*row, *([int(arrays["label"][i])] if "label" in arrays else [])])


@click.command("interpolate")
@_run
@click.option("--from", "first", default=0, show_default=True, type=click.IntRange(0), help="An index in the split.")
@click.option("--to", "second", default=1, show_default=True, type=click.IntRange(0), help="Another.")
@click.option("--steps", default=12, show_default=True, type=click.IntRange(2, 1000), help="Points on the way.")
@_split
@_out("interpolation.png", "A .png strip or a .npz with the array x.")
@_device
@click.pass_context
def interpolate_command(
    ctx: click.Context, run: Path, first: int, second: int, steps: int, split: str, out: Path, device: str
) -> None:
    """Show the way between two examples of a split, straight through the latent space."""
    opened = _open(run, device)
    data = opened.data(split)
    if max(first, second) >= len(data):
        raise UsageError(f"the {split} split has {len(data):,} examples, numbered from 0")
    batch = data.first(max(first, second) + 1)
    ends = (batch.part(i, i + 1) for i in (first, second))
    one, other = ends
    path = opened.model.interpolate(one.x, other.x, steps, one.condition if opened.model.conditioner else None)
    _write_examples(out, path[0], steps)
    sayer(ctx)(f"wrote {out}")
