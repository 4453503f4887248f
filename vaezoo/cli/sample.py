"""The command ``vaezoo sample``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from vaezoo.cli.bottom_line import working
from vaezoo.cli.condition_option import (
    ConditionRequest,
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

    from vaezoo.data.format import Format
    from vaezoo.runs.run import Run


_ROWS = 64
"""How many rows are sampled unless -n says otherwise."""
_NOT_FOR_COLUMNS = (
    "draw",
    "steps",
    "prefix_file",
    "temperature",
    "prior_temperature",
    "sampler",
    "extras",
)
"""The parameters of options that have no effect where columns of rows have given values."""


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
        _refuse_options(ctx, _NOT_FOR_COLUMNS, "has no effect with --condition on columns of rows")
        files, content, *notes = _write_given(
            run, file_format, out, condition, count or _ROWS, proposals=proposals, seed=seed
        )
    else:
        _refuse_options(ctx, ["proposals"], "is for --condition on columns of rows")
        options = {
            "mean": False if draw else None,
            "seed": seed,
            "steps": steps,
            "temperature": temperature,
            "prior_temperature": prior_temperature,
            "sampler": sampler,
        }
        prefixes = None if prefix_file is None else _read_prefixes(run, prefix_file)
        request = requested_conditions(
            run, condition, count or (None if prefixes is None else len(prefixes))
        )
        files = _write_generated(run, file_format, out, request, prefixes, extras, options)
        content, notes = {"examples": request.count}, []
    report_files(ctx, files, *notes, as_json=as_json, content={"run": str(path), **content})


def _refuse_options(ctx: click.Context, names: Sequence[str], reason: str) -> None:
    """Raises UsageError if the user gave one of the options, which has no effect.

    Args:
        ctx: the context of the command.
        names: the parameters of the options.
        reason: the rest of the message, after the name of the option.
    """
    for parameter in ctx.command.params:
        is_given = ctx.get_parameter_source(str(parameter.name)) is not ParameterSource.DEFAULT
        if parameter.name in names and is_given:
            raise UsageError(f"{parameter.opts[0]} {reason}; leave it out")


def _write_given(
    run: Run,
    file_format: Format,
    out: Path,
    condition: str,
    count: int,
    *,
    proposals: int,
    seed: int,
) -> tuple[list[Path], dict[str, Any], str]:
    """Writes rows in which some columns have given values.

    Returns:
        The files, what ``--json`` reports, and a note.
    """
    from vaezoo.data.batch import Batch
    from vaezoo.runs.example_files import write_source_units

    with working("sampling"):
        rows, size = sample_given(
            run.model, file_format, condition, count, proposals=proposals, seed=seed
        )
    files = write_source_units(file_format, out, Batch(rows), 1)
    note = f"effective sample size {size:.1f} of {proposals} proposals"
    content = {"examples": len(rows), "proposals": proposals, "effective_sample_size": size}
    return files, content, note


def _write_generated(
    run: Run,
    file_format: Format,
    out: Path,
    request: ConditionRequest,
    prefixes: torch.Tensor | None,
    extras: tuple[str, ...],
    options: Mapping[str, Any],
) -> list[Path]:
    """Writes the examples that are requested; ``options`` are those of ``Model.sample``."""
    if prefixes is not None:  # repeated in order until there is one for each sample
        repeats = -(-request.count // len(prefixes))
        prefixes = prefixes.repeat(repeats, 1, 1)[: request.count]
    example_extras = requested_extras(run.model, extras, request.count)
    try:
        with working(f"sampling {request.count:,} examples"):
            samples = run.model.sample(
                request.count,
                request.condition,
                prefix=prefixes,
                extras=example_extras,
                **options,
            )
    except (ValueError, NotImplementedError) as error:
        raise UsageError(str(error)) from error
    return save_examples(
        file_format,
        out,
        samples,
        columns=request.columns,
        condition=request.condition,
        extras=example_extras,
    )


def _read_prefixes(run: Run, path: Path) -> torch.Tensor:
    """The first steps of the sequences in a file, ``[n, T, D]``."""
    from vaezoo.runs.example_files import read_prefixes

    if not run.model.latents.stepwise:
        raise UsageError("this model does not generate step by step; leave --prefix out")
    return read_prefixes(run.model, path)
