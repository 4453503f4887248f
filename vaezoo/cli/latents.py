"""Commands about the latent space of a trained model."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import click

from vaezoo.cli.bottom_line import working
from vaezoo.cli.output import line_printer
from vaezoo.cli.shared import (
    FORMAT_HELP,
    data_argument,
    device_option,
    open_run,
    out_option,
    output_format,
    run_argument,
    save_examples,
)
from vaezoo.utils.errors import UsageError


@click.command("encode")
@run_argument
@data_argument
@click.option(
    "-n", "count", default=0, type=click.IntRange(0), help="Number of examples; 0 for all."
)
@out_option(
    "latents.npz", "A .npz with the arrays mean, label and those that name examples, or a .csv."
)
@device_option
@click.pass_context
def encode_command(
    ctx: click.Context, path: Path, data: str, count: int, out: Path, device: str
) -> None:
    """Write the posterior means of a split, a file or a folder; fail if one is NaN or infinite.

    Beside them stands what names each example: its file, its number, the identifiers of a table.
    """
    import numpy as np
    import torch

    from vaezoo.runs.named_examples import named_examples
    from vaezoo.utils.files import atomic_write
    from vaezoo.utils.finite import require_finite
    from vaezoo.utils.seeds import seeded

    if out.suffix not in (".npz", ".csv"):
        raise UsageError(f"{out}: the file must end in .npz or .csv")
    run = open_run(path, device)
    examples = named_examples(run, data)
    means, labels = [], []
    inference = run.model.inference()
    with working("encoding"), inference, seeded(run.model.device, 0, "encode"):
        for batch in examples.loader.ordered(limit=count or None):
            means.append(run.model.posterior_mean(batch).cpu())
            if batch.condition is not None and batch.condition.dim() == 1:
                labels.append(batch.condition.cpu().numpy())
    arrays: dict[str, Any] = {"mean": torch.cat(means).numpy()}
    arrays |= {
        name: np.array(each[: len(arrays["mean"])]) for name, each in examples.names.items()
    }
    if labels:
        arrays["label"] = np.concatenate(labels)
    with atomic_write(out) as temporary:
        if out.suffix == ".npz":
            with open(temporary, "wb") as file:
                np.savez_compressed(file, **arrays)
        else:
            _write_csv(temporary, arrays)
    line_printer(ctx)(f"wrote {len(arrays['mean']):,} latents to {out}")
    require_finite(torch.from_numpy(arrays["mean"]), f"{path}: the posterior mean of example")


def _write_csv(path: Path, arrays: dict[str, Any]) -> None:
    """Writes a row for each example: what names it, its posterior mean, and its label if any."""
    means = [f"z{i}" for i in range(arrays["mean"].shape[1])]
    names = [name for name in arrays if name not in ("mean", "label")]
    label = [name for name in arrays if name == "label"]
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*names, *means, *label])
        for i, row in enumerate(arrays["mean"].tolist()):
            before, after = ([arrays[name][i] for name in each] for each in (names, label))
            writer.writerow([*before, *row, *after])


@click.command("traverse")
@run_argument
@data_argument
@click.option(
    "--index",
    default=0,
    show_default=True,
    type=click.IntRange(0),
    help="Index of the example.",
)
@click.option(
    "--dimensions",
    "count",
    type=click.IntRange(1),
    help="Number of latent dimensions (rows).  [default: 10; 3 for sequences]",
)
@click.option(
    "--steps",
    default=11,
    show_default=True,
    type=click.IntRange(2, 1000),
    help="Number of values in each row.",
)
@click.option("--span", default=3.0, show_default=True, help="Values range from -SPAN to SPAN.")
@out_option("traversals.png", FORMAT_HELP)
@device_option
@click.pass_context
def traverse_command(
    ctx: click.Context,
    *,
    path: Path,
    data: str,
    index: int,
    count: int | None,
    steps: int,
    span: float,
    out: Path,
    device: str,
) -> None:
    """Vary one latent dimension of an example in each row, in the order of decreasing KL."""
    from vaezoo.data.mapping import map_tensors
    from vaezoo.evaluation.latent_space import dimension_rates
    from vaezoo.runs.named_examples import named_examples

    run = open_run(path, device)
    file_format = output_format(run, out)
    examples = named_examples(run, data).loader
    if index >= len(examples):
        raise UsageError(f"{data} has {len(examples):,} examples, numbered from 0")
    with run.model.inference():
        try:
            rates = dimension_rates(run.model, examples.first(min(1000, len(examples))))
        except NotImplementedError as error:
            raise UsageError(f"traversals: {error}") from error
    order = rates.argsort(descending=True)[: count or (3 if run.model.data.is_sequence else 10)]
    example = examples.first(index + 1).select(slice(index, index + 1))
    sheet = run.model.traverse(example, order, steps, span)
    drawn = map_tensors(lambda x: x.flatten(0, 1), sheet)  # [dimensions * steps, *shape]
    message = save_examples(file_format, out, drawn, columns=steps)
    dimensions = ", ".join(f"{d} ({rates[d]:.2f} nats)" for d in order.tolist())
    line_printer(ctx)(f"{message}: dimensions {dimensions}")


@click.command("interpolate")
@run_argument
@data_argument
@click.option(
    "--from",
    "first",
    default=0,
    show_default=True,
    type=click.IntRange(0),
    help="Index of the first example.",
)
@click.option(
    "--to",
    "second",
    default=1,
    show_default=True,
    type=click.IntRange(0),
    help="Index of the second example.",
)
@click.option(
    "--steps",
    default=12,
    show_default=True,
    type=click.IntRange(2, 1000),
    help="Number of points, including both ends.",
)
@out_option("interpolation.png", FORMAT_HELP)
@device_option
@click.pass_context
def interpolate_command(
    ctx: click.Context,
    *,
    path: Path,
    data: str,
    first: int,
    second: int,
    steps: int,
    out: Path,
    device: str,
) -> None:
    """Interpolate in the latent space between two examples of a split, a file or a folder."""
    from vaezoo.data.mapping import map_tensors
    from vaezoo.runs.named_examples import named_examples

    run = open_run(path, device)
    file_format = output_format(run, out)
    examples = named_examples(run, data).loader
    if max(first, second) >= len(examples):
        raise UsageError(f"{data} has {len(examples):,} examples, numbered from 0")
    batch = examples.first(max(first, second) + 1)
    start, end = (batch.select(slice(i, i + 1)) for i in (first, second))
    try:
        points = run.model.interpolate(start, end, steps)
    except NotImplementedError as error:
        raise UsageError(f"cannot interpolate between these examples: {error}") from error
    points = map_tensors(lambda x: x[0], points)  # [steps, *shape]
    line_printer(ctx)(save_examples(file_format, out, points, columns=steps))
