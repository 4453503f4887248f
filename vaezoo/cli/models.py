"""Commands that use a trained model, and the options that such commands share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vaezoo.cli.condition_option import condition_option, requested_conditions
from vaezoo.cli.output import json_option, line_printer, metrics_table, print_json
from vaezoo.cli.weights import registry_option
from vaezoo.utils.errors import Problem, SpecError, UsageError, VaezooError

if TYPE_CHECKING:
    import torch

    from vaezoo.data.batch import Batch
    from vaezoo.data.format import Format
    from vaezoo.runs.run import Run

FORMAT_HELP = "The file name ending selects the format: .png, .npz, .csv or that of a plugin."

device_option = click.option(
    "--device", default="auto", show_default=True, help="auto, cpu, cuda or mps."
)
split_option = click.option(
    "--split",
    type=click.Choice(["train", "validation", "test"]),
    default="test",
    show_default=True,
)


def run_argument(command: Callable[..., Any]) -> Callable[..., Any]:
    """The argument RUN|WEIGHTS: a run's directory or the name of pretrained weights."""
    argument = click.argument("path", type=click.Path(path_type=Path), metavar="RUN|WEIGHTS")
    return registry_option(argument(command))


def out_option(default: str, help_text: str) -> Callable[[Any], Any]:
    """The option ``--out`` with its default and a help text about the file's format."""
    return click.option(
        "--out",
        type=click.Path(path_type=Path),
        default=default,
        show_default=True,
        help=help_text,
    )


def open_run(path: Path, device: str) -> Run:
    """Opens the run at a path, or pretrained weights by name; tunes the process's allocator."""
    from vaezoo.utils.allocator import tune_allocator

    tune_allocator()
    from vaezoo.runs import opening

    if path.exists() or str(path).startswith(("/", ".", "~")):
        return opening.open_run(path, device=device)
    try:
        return opening.open_weights(str(path), device=device)
    except UsageError as error:
        raise UsageError(f"{path}: not a run, and {error}") from None


def output_format(run: Run, out: Path) -> Format:
    """The format in which to write ``out``; called before sampling, so that errors come early."""
    from vaezoo.runs.example_files import format_for

    return format_for(run.model.data, out)


def save_examples(
    file_format: Format,
    out: Path,
    x: torch.Tensor,
    *,
    columns: int,
    condition: torch.Tensor | None = None,
    mask: torch.Tensor | None = None,
) -> str:
    """Writes examples.

    Args:
        file_format: the format of the file.
        out: the file; if it can hold only one example, numbered files are written.
        x: examples ``[n, *shape]``, in the model's data range.
        columns: the number of examples in each row of an image.
        condition: their conditions.
        mask: their masks.

    Returns:
        A message with the names of the files.
    """
    from vaezoo.data.batch import Batch
    from vaezoo.runs.example_files import write_examples

    paths = write_examples(file_format, out, Batch(x, condition, mask), columns)
    return f"wrote {out}" if len(paths) == 1 else f"wrote {paths[0]} to {paths[-1].name}"


@click.command("evaluate")
@run_argument
@split_option
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="METRIC",
    help="Measure this metric instead of those in the spec: a name, or a mapping such as "
    "'{type: nll, samples: 100}'. May be repeated.",
)
@device_option
@json_option
@click.pass_context
def evaluate_command(
    ctx: click.Context,
    *,
    path: Path,
    split: str,
    metrics: tuple[str, ...],
    device: str,
    as_json: bool,
) -> None:
    """Evaluate a model on a split of its data.

    On the test split with the metrics of the spec, the result replaces evaluation.json. With
    --metric, the command fails if a metric is not defined for this model or data.
    """
    from vaezoo.spec.tree import parse
    from vaezoo.utils.files import write_json

    run = open_run(path, device)
    requested_metrics = [parse(metric, "--metric").plain() for metric in metrics]
    try:
        evaluation = run.evaluate(split, requested_metrics or None)
    except SpecError as error:  # the error is in the value of --metric, not in a file
        problems = [
            Problem("--metric", 1, 1, path="", message=problem.message)
            for problem in error.problems
        ]
        raise SpecError(problems) from error
    if split == "test" and not requested_metrics and run.directory.spec.is_file():
        write_json(run.directory.evaluation, evaluation)
    print_json({"run": str(path), "evaluation": evaluation}) if as_json else metrics_table(
        evaluation
    )
    if requested_metrics and evaluation["undefined"]:
        reasons = "; ".join(
            f"{name}: {reason}" for name, reason in evaluation["undefined"].items()
        )
        raise VaezooError(f"not defined for this model or data: {reasons}")


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
@device_option
@click.pass_context
def sample_command(
    ctx: click.Context,
    *,
    path: Path,
    count: int | None,
    condition: str | None,
    out: Path,
    seed: int,
    draw: bool,
    steps: int | None,
    prefix_file: Path | None,
    temperature: float,
    device: str,
) -> None:
    """Generate new examples: z from the prior, then x from p(x|z).

    With --condition all, an image has one row for each class.
    """
    run = open_run(path, device)
    file_format = output_format(run, out)
    prefixes = None if prefix_file is None else _read_prefixes(run, prefix_file)
    request = requested_conditions(
        run, condition, count or (None if prefixes is None else len(prefixes))
    )
    if prefixes is not None:  # repeated in order until there is one for each sample
        repeats = -(-request.count // len(prefixes))
        prefixes = prefixes.repeat(repeats, 1, 1)[: request.count]
    try:
        samples = run.model.sample(
            request.count,
            request.condition,
            mean=not draw,
            seed=seed,
            steps=steps,
            prefix=prefixes,
            temperature=temperature,
        )
    except (ValueError, NotImplementedError) as error:
        raise UsageError(str(error)) from error
    message = save_examples(
        file_format, out, samples, columns=request.columns, condition=request.condition
    )
    line_printer(ctx)(message)


def _read_prefixes(run: Run, path: Path) -> torch.Tensor:
    """The first steps of the sequences in a file, ``[n, T, D]``."""
    from vaezoo.runs.example_files import read_prefixes

    if not run.model.latents.stepwise:
        raise UsageError("this model does not generate step by step; leave --prefix out")
    return read_prefixes(run.model, path)


@click.command("reconstruct")
@run_argument
@click.option(
    "-n",
    "count",
    type=click.IntRange(1, 100_000),
    help="Number of examples.  [default: 32; 16 for sequences; up to 8 with --condition]",
)
@split_option
@condition_option
@out_option("reconstructions.png", f"{FORMAT_HELP} An image also shows the originals.")
@device_option
@click.pass_context
def reconstruct_command(
    ctx: click.Context,
    *,
    path: Path,
    count: int | None,
    split: str,
    condition: str | None,
    out: Path,
    device: str,
) -> None:
    """Reconstruct examples of a split.

    With --condition, the z of each example is decoded under every requested condition: one row for
    each example, the original first.
    """
    run = open_run(path, device)
    file_format = output_format(run, out)
    conditions = None if condition is None else requested_conditions(run, condition, 1).condition
    is_sequence = run.model.data.is_sequence
    default = 16 if is_sequence else 32
    if conditions is not None:  # each row has the original and one translation for each condition
        default = max(1, min(8, 40 // (1 + len(conditions)))) if is_sequence else 8
    batch = run.data(split).first(count or default)
    if conditions is None:
        message = _save_reconstructions(run, file_format, out, batch)
    else:
        sheet = run.model.translate(batch, conditions)
        examples = sheet.flatten(0, 1)  # [B * (1 + conditions), *shape]
        message = save_examples(file_format, out, examples, columns=sheet.shape[1])
    line_printer(ctx)(message)


def _save_reconstructions(run: Run, file_format: Format, out: Path, batch: Batch) -> str:
    """Writes reconstructions, in an image together with the originals; returns a message."""
    from vaezoo.runs.report import pictures, sequences
    from vaezoo.utils.files import write_bytes

    data = run.model.data
    x = run.model.reconstruct(batch.x, batch.condition, batch.mask)
    if out.suffix != ".png":
        mask = batch.mask if data.is_sequence else None
        return save_examples(file_format, out, x, columns=1, condition=batch.condition, mask=mask)
    if not data.is_sequence:
        return save_examples(file_format, out, pictures.pairs(batch.x, x, 16), columns=16)
    originals = replace(batch, x=data.to_source_units(batch.x))
    write_bytes(out, sequences.picture(data, originals, data.to_source_units(x)))
    return f"wrote {out}"
