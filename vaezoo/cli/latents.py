"""Commands about the latent space of a trained model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import ZIP_DEFLATED, ZipFile

import click

from vaezoo.cli.bottom_line import working
from vaezoo.cli.output import json_option, report_files
from vaezoo.cli.rows import check_rows_file, write_rows
from vaezoo.cli.shared import (
    FORMAT_HELP,
    data_argument,
    device_option,
    open_examples,
    open_run,
    out_option,
    output_format,
    run_argument,
    save_examples,
)
from vaezoo.utils.columns import free_names
from vaezoo.utils.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor


@click.command("encode")
@run_argument
@data_argument
@click.option(
    "-n", "count", default=0, type=click.IntRange(0), help="Number of examples; 0 for all."
)
@out_option(
    "latents.npz",
    "A .npz with the arrays mean, label and those that name examples, or a .csv or .json with a "
    "row for each example.",
)
@device_option
@json_option
@click.pass_context
def encode_command(
    ctx: click.Context,
    *,
    path: Path,
    data: str,
    count: int,
    out: Path,
    device: str,
    as_json: bool,
) -> None:
    """Write the posterior means of a split, a file or a folder; fail if one is NaN or infinite.

    The examples are those of a split (train, validation, test, all; by default test), or of your
    own files, which are read as in training. Beside the means stands what names each example: its
    file, its number there, the first step of a window, the identifiers of a table. A column of
    yours that is called as one of the results gets " (source)" added to its name.
    """
    import torch

    from vaezoo.utils.finite import require_finite
    from vaezoo.utils.seeds import seeded

    check_rows_file(out, ".npz")
    run = open_run(path, device)
    examples = open_examples(ctx, run, data)
    if count:
        examples = examples.first(count)
    means, labels = [], []
    inference = run.model.inference()
    with working("encoding"), inference, seeded(run.model.device, 0, "encode"):
        for batch in examples.loader.ordered():
            means.append(run.model.posterior_mean(batch).cpu())
            if batch.condition is not None and batch.condition.dim() == 1:
                labels.append(batch.condition.cpu())
    mean, label = torch.cat(means), torch.cat(labels) if labels else None
    _write_latents(out, examples.names, mean, label)
    content = {"run": str(path), "data": data, "examples": len(mean), "latent_dim": mean.shape[1]}
    report_files(ctx, [out], what=f"{len(mean):,} latents", as_json=as_json, content=content)
    require_finite(mean, f"{path}: the posterior mean of example")


def _write_latents(
    out: Path, names: Mapping[str, Sequence[Any]], mean: Tensor, label: Tensor | None
) -> None:
    """Writes arrays, or a row for each example: its names, its posterior mean, and its label."""
    import numpy as np
    from numpy.lib.format import write_array

    from vaezoo.utils.files import atomic_write

    labels = {} if label is None else {"label": label.tolist()}
    if out.suffix != ".npz":
        columns = {f"z{i}": column for i, column in enumerate(mean.T.tolist())}
        results: dict[str, Any] = {**columns, **labels}
        write_rows(out, {**free_names(names, results), **results})
        return
    texts = {name: _without_none(values) for name, values in names.items()}
    results = {"mean": mean.numpy(), **labels}
    arrays = {**free_names(texts, results), **results}
    # np.savez_compressed takes no array named file
    with atomic_write(out) as temporary, ZipFile(temporary, "w", ZIP_DEFLATED) as archive:
        for name, values in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                write_array(file, np.asarray(values), allow_pickle=False)


def _without_none(values: Sequence[Any]) -> Sequence[Any]:
    """Values of one type: as text, empty where there is none, if one of them is None."""
    if all(value is not None for value in values):
        return values
    return ["" if value is None else str(value) for value in values]


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
@json_option
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
    as_json: bool,
) -> None:
    """Vary one latent dimension of an example in each row, in the order of decreasing KL.

    The example is one of a split (train, validation, test, all; by default test), or of your own
    files, which are read as in training.
    """
    from vaezoo.data.mapping import map_tensors
    from vaezoo.evaluation.latent_space import dimension_rates

    run = open_run(path, device)
    file_format = output_format(run, out)
    examples = open_examples(ctx, run, data).loader
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
    files = save_examples(file_format, out, drawn, columns=steps)
    shown = [{"dimension": d, "kl": float(rates[d])} for d in order.tolist()]
    text = ", ".join(f"{row['dimension']} ({row['kl']:.2f} nats)" for row in shown)
    content = {"run": str(path), "data": data, "example": index, "steps": steps}
    report_files(
        ctx, files, f"dimensions {text}", as_json=as_json, content={**content, "dimensions": shown}
    )


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
@json_option
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
    as_json: bool,
) -> None:
    """Interpolate in the latent space between two examples of a split, a file or a folder.

    The examples are two of a split (train, validation, test, all; by default test), or of your own
    files, which are read as in training.
    """
    from vaezoo.data.mapping import map_tensors

    run = open_run(path, device)
    file_format = output_format(run, out)
    examples = open_examples(ctx, run, data).loader
    if max(first, second) >= len(examples):
        raise UsageError(f"{data} has {len(examples):,} examples, numbered from 0")
    batch = examples.first(max(first, second) + 1)
    start, end = (batch.select(slice(i, i + 1)) for i in (first, second))
    try:
        points = run.model.interpolate(start, end, steps)
    except NotImplementedError as error:
        raise UsageError(f"cannot interpolate between these examples: {error}") from error
    points = map_tensors(lambda x: x[0], points)  # [steps, *shape]
    files = save_examples(file_format, out, points, columns=steps)
    content = {"run": str(path), "data": data, "from": first, "to": second, "steps": steps}
    report_files(ctx, files, as_json=as_json, content=content)
