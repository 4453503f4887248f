"""The command ``vaezoo impute``."""

from __future__ import annotations

from pathlib import Path

import click

from vaezoo.cli.bottom_line import working
from vaezoo.cli.output import json_option, report_files
from vaezoo.cli.shared import (
    FORMAT_HELP,
    device_option,
    open_run,
    out_option,
    output_format,
    run_argument,
)


@click.command("impute")
@run_argument
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--draws",
    default=1,
    show_default=True,
    type=click.IntRange(1, 1000),
    help="Number of draws for each example; several are written to NAME-1, NAME-2, and so on.",
)
@click.option(
    "--proposals",
    default=100,
    show_default=True,
    type=click.IntRange(1),
    help="Number of proposals that each draw is chosen from.",
)
@click.option("--seed", default=0, show_default=True, help="Random seed.")
@out_option("imputed.csv", FORMAT_HELP)
@device_option
@json_option
@click.pass_context
def impute_command(
    ctx: click.Context,
    *,
    path: Path,
    file: Path,
    draws: int,
    proposals: int,
    seed: int,
    out: Path,
    device: str,
    as_json: bool,
) -> None:
    """Fill what is missing in the examples of FILE, by draws given what is there.

    In a csv file of series all other cells stay as they are, with the times and other columns.

    Draws are chosen by their weights from proposals of the model. The effective sample size says
    how many of the proposals count: close to 1, the draws are hardly chosen.
    """
    from vaezoo.data.batch import Batch
    from vaezoo.nn import masked
    from vaezoo.runs.example_files import read_incomplete, write_completed

    run = open_run(path, device)
    file_format = output_format(run, out)
    batch, exists = read_incomplete(run.model, file, run.file_format(file))
    with working(f"filling {len(batch):,} examples"):
        result = run.model.impute(batch, draws=draws, samples=proposals, seed=seed)
    files: list[Path] = []
    digits = len(str(draws))
    for draw, x in enumerate(result.x, 1):
        name = out if draws == 1 else out.with_stem(f"{out.stem}-{draw:0{digits}}")
        if exists is not None:
            x = masked(x, exists)
        completed = Batch(x, batch.condition, exists, extras=batch.extras)
        files += write_completed(file_format, name, file, completed)
    sizes = result.effective_sample_size
    mean, smallest = float(sizes.mean()), float(sizes.min())
    note = f"effective sample size of {proposals} proposals: mean {mean:.1f}, "
    content = {"run": str(path), "data": str(file), "examples": len(batch), "draws": draws}
    report_files(
        ctx,
        files,
        f"{note}smallest {smallest:.1f}",
        as_json=as_json,
        content={
            **content,
            "proposals": proposals,
            "effective_sample_size": {"mean": mean, "smallest": smallest},
        },
    )
