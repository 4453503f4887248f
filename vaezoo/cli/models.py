"""Commands that use a trained model, and what all such commands share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vaezoo.cli.condition_option import condition_option, wanted
from vaezoo.cli.output import json_option, line_printer, metrics_table, print_json
from vaezoo.cli.weights import registry_option
from vaezoo.utils.errors import Problem, SpecError, UsageError, VaezooError

if TYPE_CHECKING:
    import torch

    from vaezoo.data.batch import Batch
    from vaezoo.data.format import Format
    from vaezoo.runs.run import Run

_MANY = "How many.  [default: 32, of sequences 16, or 8 with --condition]"
FORMS = "How it is written follows from the ending: .png, .npz, .csv or one that a plugin brings."


def run_argument(command: Callable[..., Any]) -> Callable[..., Any]:
    """RUN is a run's directory or the name of pretrained weights."""
    return registry_option(click.argument("run", type=click.Path(path_type=Path), metavar="RUN|WEIGHTS")(command))


device_option = click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or mps.")
split_option = click.option(
    "--split", type=click.Choice(["train", "validation", "test"]), default="test", show_default=True
)


def out_option(default: str, forms: str) -> Callable[[Any], Any]:
    """``--out``, with what is said of the forms that the command writes."""
    return click.option("--out", type=click.Path(path_type=Path), default=default, show_default=True, help=forms)


def open_run(path: Path, device: str) -> Run:
    """The run at a path, or pretrained weights by name, in a process of its own."""
    from vaezoo.utils.allocator import tune_allocator

    tune_allocator()
    from vaezoo.runs import opening

    if path.exists() or str(path).startswith(("/", ".", "~")):
        return opening.open_run(path, device=device)
    from vaezoo.runs.opening import open_weights

    try:
        return open_weights(str(path), device=device)
    except UsageError as error:
        raise UsageError(f"{path}: not a run, and {error}") from None


def form_for(run: Run, out: Path) -> Format:
    """How ``out`` is to be written, found out before anything is drawn."""
    from vaezoo.runs.example_files import format_for

    return format_for(run.model.data, out)


def write(
    form: Format,
    out: Path,
    x: torch.Tensor,
    columns: int,
    condition: torch.Tensor | None = None,
    mask: torch.Tensor | None = None,
) -> str:
    """Writes examples and says where."""
    from vaezoo.data.batch import Batch
    from vaezoo.runs.example_files import write_examples

    written = write_examples(form, out, Batch(x, condition, mask), columns)
    return f"wrote {out}" if len(written) == 1 else f"wrote {written[0]} to {written[-1].name}"


@click.command("evaluate")
@run_argument
@split_option
@click.option(
    "--metric", "metrics", multiple=True, metavar="METRIC", help="Instead of the spec's; {type: nll, ...} works."
)
@device_option
@json_option
@click.pass_context
def evaluate_command(
    ctx: click.Context, run: Path, split: str, metrics: tuple[str, ...], device: str, as_json: bool
) -> None:
    """Measure RUN on a split of its data, in nats per example.

    On the test split with the spec's own metrics, evaluation.json is written anew. A metric asked for here that this
    model or data does not have is a failure.
    """
    from vaezoo.spec.tree import parse
    from vaezoo.utils.files import write_json

    opened = open_run(run, device)
    chosen = [parse(metric, "--metric").plain() for metric in metrics]
    try:
        found = opened.evaluate(split, chosen or None)
    except SpecError as error:  # in what was typed, not in a file
        raise SpecError([Problem("--metric", 1, 1, "", problem.message) for problem in error.problems]) from error
    if split == "test" and not chosen and opened.directory.spec.is_file():
        write_json(opened.directory.evaluation, found)
    print_json({"run": str(run), "evaluation": found}) if as_json else metrics_table(found)
    if chosen and found["undefined"]:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in found["undefined"].items())
        raise VaezooError(f"not defined here: {reasons}")


@click.command("sample")
@run_argument
@click.option(
    "-n",
    "count",
    type=click.IntRange(1, 1_000_000),
    help="How many, for each condition.  [default: 64 or 10, of sequences 16 or 4, or one for each prefix]",
)
@condition_option
@out_option("samples.png", FORMS)
@click.option("--seed", default=0, show_default=True, help="Of the draw.")
@click.option("--draw", is_flag=True, help="Draw from p(x|z) too, instead of showing its mean.")
@click.option("--steps", type=click.IntRange(1), help="Of a sequence, or after its prefix.")
@click.option("--prefix", type=click.Path(path_type=Path), help="A file with the first steps, to be gone on from.")
@click.option(
    "--temperature", default=1.0, show_default=True, type=click.FloatRange(0), help="Of p(x|z); 0: likeliest."
)
@device_option
@click.pass_context
def sample_command(
    ctx: click.Context,
    run: Path,
    count: int | None,
    condition: str | None,
    out: Path,
    seed: int,
    draw: bool,
    steps: int | None,
    prefix: Path | None,
    temperature: float,
    device: str,
) -> None:
    """Draw new examples from RUN's model: z from the prior, then p(x|z).

    With --condition all the sheet has a row for each class.
    """
    opened = open_run(run, device)
    form = form_for(opened, out)
    given = _prefixes(opened, prefix)
    asked = wanted(opened, condition, count or (None if given is None else len(given)))
    start = None if given is None else given.repeat(-(-asked.count // len(given)), 1, 1)[: asked.count]
    try:
        samples = opened.model.sample(
            asked.count,
            asked.condition,
            mean=not draw,
            seed=seed,
            steps=steps,
            prefix=start,
            temperature=temperature,
        )
    except (ValueError, NotImplementedError) as error:
        raise UsageError(str(error)) from error
    line_printer(ctx)(write(form, out, samples, asked.columns, asked.condition))


def _prefixes(run: Run, path: Path | None) -> torch.Tensor | None:
    """What a file holds of beginnings, ``[n, T, D]``."""
    from vaezoo.runs.example_files import prefix

    if path is None:
        return None
    if not run.model.latents.stepwise:
        raise UsageError("this model makes whole examples: it takes no --prefix")
    return prefix(run.model, path)


@click.command("reconstruct")
@run_argument
@click.option("-n", "count", type=click.IntRange(1, 100_000), help=_MANY)
@split_option
@condition_option
@out_option("reconstructions.png", f"{FORMS} A picture has the originals, too.")
@device_option
@click.pass_context
def reconstruct_command(
    ctx: click.Context, run: Path, count: int | None, split: str, condition: str | None, out: Path, device: str
) -> None:
    """Show examples of a split, each with its reconstruction.

    With --condition the z of each example is decoded under every condition asked for: an example to a row, the
    original first.
    """
    opened = open_run(run, device)
    form = form_for(opened, out)
    asked = None if condition is None else wanted(opened, condition, 1).condition
    usual = 16 if opened.model.data.is_sequence else 32
    if asked is not None:  # each example takes up one place more than there are conditions
        usual = max(1, min(8, 40 // (1 + len(asked)))) if opened.model.data.is_sequence else 8
    batch = opened.data(split).first(count or usual)
    if asked is None:
        said = _rebuilt(opened, form, out, batch)
    else:
        sheet = opened.model.translate(batch, asked)
        said = write(form, out, sheet.flatten(0, 1), sheet.shape[1])
    line_printer(ctx)(said)


def _rebuilt(run: Run, form: Format, out: Path, batch: Batch) -> str:
    """Writes reconstructions, beside what they are of in a picture, and says where."""
    from vaezoo.runs.report import pictures, sequences
    from vaezoo.utils.files import write_bytes

    data = run.model.data
    x = run.model.reconstruct(batch.x, batch.condition, batch.mask)
    if out.suffix != ".png":
        return write(form, out, x, 1, batch.condition, batch.mask if data.is_sequence else None)
    if not data.is_sequence:
        return write(form, out, pictures.pairs(batch.x, x, 16), 16)
    shown = replace(batch, x=data.to_source_units(batch.x))
    write_bytes(out, sequences.picture(data, shown, data.to_source_units(x)))
    return f"wrote {out}"
