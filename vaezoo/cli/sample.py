"""The command ``vaezoo sample``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from vaezoo.cli.bottom_line import working
from vaezoo.cli.condition_option import (
    condition_option,
    requested_conditions,
    sample_given,
    takes_columns,
)
from vaezoo.cli.extra_option import extra_option, requested_extras
from vaezoo.cli.output import json_option, report_files
from vaezoo.cli.shared import (
    FORMAT_HELP,
    device_option,
    open_run,
    out_option,
    output_format,
    run_argument,
    sampler_option,
    save_examples,
)
from vaezoo.utils.errors import UsageError

if TYPE_CHECKING:
    import torch

    from vaezoo.runs.run import Run


_ROWS = 64
"""How many rows are sampled unless -n says otherwise."""


@click.command("sample")
@run_argument
@click.option(
    "-n",
    "count",
    type=click.IntRange(1, 1_000_000),
    help="Number of samples for each condition.  [default: 64 for one condition, 10 for each of "
    "several; for sequences 16 and 4; with --prefix one for each prefix]",
)
@condition_option
@click.option(
    "--proposals",
    default=100,
    show_default=True,
    type=click.IntRange(1),
    help="For conditions on columns of rows: how many proposals each sample is chosen from.",
)
@out_option("samples.png", FORMAT_HELP)
@click.option("--seed", default=0, show_default=True, help="Random seed.")
@click.option("--draw", is_flag=True, help="Sample from p(x|z) instead of taking its mean.")
@click.option(
    "--steps", type=click.IntRange(1), help="Number of steps of a sequence, after its prefix."
)
@click.option(
    "--prefix",
    "prefix_file",
    type=click.Path(path_type=Path),
    help="A file with the first steps of sequences to continue.",
)
@click.option(
    "--temperature",
    default=1.0,
    show_default=True,
    type=click.FloatRange(0),
    help="Temperature of p(x|z); 0 takes the most likely value.",
)
@click.option(
    "--prior-temperature",
    default=1.0,
    show_default=True,
    type=click.FloatRange(0),
    help="Temperature of p(z); below 1 samples vary less.",
)
@sampler_option
@extra_option
@device_option
@json_option
@click.pass_context
def sample_command(
    ctx: click.Context,
    *,
    path: Path,
    count: int | None,
    condition: str | None,
    proposals: int,
    out: Path,
    seed: int,
    draw: bool,
    steps: int | None,
    prefix_file: Path | None,
    temperature: float,
    prior_temperature: float,
    sampler: str | None,
    extras: tuple[str, ...],
    device: str,
    as_json: bool,
) -> None:
    """Generate new examples: z from the prior, then x from p(x|z).

    With --condition all, an image has one row for each class.
    """
    run = open_run(path, device)
    file_format = output_format(run, out)
    if condition is not None and takes_columns(run.model):
        with working("sampling"):
            rows, size = sample_given(
                run.model, condition, count or _ROWS, proposals=proposals, seed=seed
            )
        files = save_examples(file_format, out, rows, columns=1)
        note = f"effective sample size {size:.1f} of {proposals} proposals"
        content = {
            "run": str(path),
            "examples": len(rows),
            "proposals": proposals,
            "effective_sample_size": size,
        }
        report_files(ctx, files, note, as_json=as_json, content=content)
        return
    prefixes = None if prefix_file is None else _read_prefixes(run, prefix_file)
    request = requested_conditions(
        run, condition, count or (None if prefixes is None else len(prefixes))
    )
    if prefixes is not None:  # repeated in order until there is one for each sample
        repeats = -(-request.count // len(prefixes))
        prefixes = prefixes.repeat(repeats, 1, 1)[: request.count]
    example_extras = requested_extras(run.model, extras, request.count)
    try:
        with working(f"sampling {request.count:,} examples"):
            samples = run.model.sample(
                request.count,
                request.condition,
                mean=False if draw else None,
                seed=seed,
                steps=steps,
                prefix=prefixes,
                temperature=temperature,
                prior_temperature=prior_temperature,
                sampler=sampler,
                extras=example_extras,
            )
    except (ValueError, NotImplementedError) as error:
        raise UsageError(str(error)) from error
    files = save_examples(
        file_format,
        out,
        samples,
        columns=request.columns,
        condition=request.condition,
        extras=example_extras,
    )
    content = {"run": str(path), "examples": request.count}
    report_files(ctx, files, as_json=as_json, content=content)


def _read_prefixes(run: Run, path: Path) -> torch.Tensor:
    """The first steps of the sequences in a file, ``[n, T, D]``."""
    from vaezoo.runs.example_files import read_prefixes

    if not run.model.latents.stepwise:
        raise UsageError("this model does not generate step by step; leave --prefix out")
    return read_prefixes(run.model, path)
