"""Commands that use a trained model."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vaezoo.cli.conditioning import condition_option, wanted
from vaezoo.cli.output import json_option, metrics_table, print_json, sayer
from vaezoo.cli.weights import registry_option
from vaezoo.errors import UsageError, VaezooError

if TYPE_CHECKING:
    import torch

    from vaezoo.interfaces import Format
    from vaezoo.runs import Run

_MANY = "How many.  [default: 32, of sequences 16, or 8 with --condition]"
_FORMS = "How it is written follows from the ending: .png, .npz, .csv or one that a plugin brings."


def run_argument(command: Callable[..., Any]) -> Callable[..., Any]:
    """RUN is a run's directory or the name of pretrained weights."""
    return registry_option(click.argument("run", type=click.Path(path_type=Path), metavar="RUN|WEIGHTS")(command))


device_option = click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or mps.")
split_option = click.option(
    "--split", type=click.Choice(["train", "validation", "test"]), default="test", show_default=True
)


def _out(default: str, forms: str) -> Callable[[Any], Any]:
    return click.option("--out", type=click.Path(path_type=Path), default=default, show_default=True, help=forms)


def open_run(path: Path, device: str) -> Run:
    """The run at a path, or pretrained weights by name, in a process of its own."""
    from vaezoo.process import tune_allocator

    tune_allocator()
    from vaezoo import runs

    if path.exists() or str(path).startswith(("/", ".", "~")):
        return runs.open_run(path, device=device)
    from vaezoo.registry.loading import open_weights

    try:
        return open_weights(str(path), device=device)
    except UsageError as error:
        raise UsageError(f"{path}: not a run, and {error}") from None


def _form(run: Run, out: Path) -> Format:
    """How ``out`` is to be written, found out before anything is drawn."""
    from vaezoo.given import format_for

    return format_for(run.model.data, out)


def _write(form: Format, out: Path, examples: torch.Tensor, columns: int) -> str:
    """Writes examples and says where."""
    from vaezoo.given import write_examples

    written = write_examples(form, out, examples, columns)
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
    from vaezoo.files import write_json
    from vaezoo.spec.tree import parse

    opened = open_run(run, device)
    chosen = [parse(metric, "--metric").plain() for metric in metrics]
    found = opened.evaluate(split, chosen or None)
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
@_out("samples.png", _FORMS)
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
    form = _form(opened, out)
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
    sayer(ctx)(_write(form, out, samples, asked.columns))


def _prefixes(run: Run, path: Path | None) -> torch.Tensor | None:
    """What a file holds of beginnings, ``[n, T, D]``."""
    from vaezoo.given import prefix

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
@_out("reconstructions.png", f"{_FORMS} A sheet has the originals above.")
@device_option
@click.pass_context
def reconstruct_command(
    ctx: click.Context, run: Path, count: int | None, split: str, condition: str | None, out: Path, device: str
) -> None:
    """Show examples of a split, each above its reconstruction.

    With --condition the z of each example is decoded under every condition asked for: an example to a row, the
    original first.
    """
    from vaezoo.report.pictures import pairs

    opened = open_run(run, device)
    form = _form(opened, out)
    usual = 8 if condition is not None else 16 if opened.model.data.is_sequence else 32
    batch = opened.data(split).first(count or usual)
    if condition is not None:
        asked = wanted(opened, condition, 1).condition
        assert asked is not None, "a condition was given"
        sheet = opened.model.translate(batch, asked)
        said = _write(form, out, sheet.flatten(0, 1), sheet.shape[1])
    else:
        rebuilt = opened.model.reconstruct(batch.x, batch.condition, batch.mask)
        columns = 1 if opened.model.data.is_sequence else 16
        if batch.mask is not None and opened.model.data.is_sequence:
            nothing = opened.model.data.standardised(rebuilt * 0)
            rebuilt = rebuilt.where(batch.mask[..., None], nothing)
        said = _write(form, out, pairs(batch.x, rebuilt, columns) if out.suffix == ".png" else rebuilt, columns)
    sayer(ctx)(said)


@click.command("encode")
@run_argument
@split_option
@click.option("-n", "count", default=0, type=click.IntRange(0), help="How many; 0 for all.")
@_out("latents.npz", "A .npz with the arrays mean and label, or a .csv.")
@device_option
@click.pass_context
def encode_command(ctx: click.Context, run: Path, split: str, count: int, out: Path, device: str) -> None:
    """Write the posterior means of a split."""
    import numpy as np
    import torch

    from vaezoo.files import atomic

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


@click.command("traverse")
@run_argument
@click.option("--index", default=0, show_default=True, type=click.IntRange(0), help="Which example of the split.")
@click.option("--dimensions", "count", default=10, show_default=True, type=click.IntRange(1), help="How many rows.")
@click.option("--steps", default=11, show_default=True, type=click.IntRange(2, 1000), help="Values in a row.")
@click.option("--span", default=3.0, show_default=True, help="A row goes from -SPAN to SPAN.")
@split_option
@_out("traversals.png", _FORMS)
@device_option
@click.pass_context
def traverse_command(
    ctx: click.Context, run: Path, index: int, count: int, steps: int, span: float, split: str, out: Path, device: str
) -> None:
    """Move one latent dimension of an example after another, a row for each, those with the largest KL first."""
    from vaezoo.evaluation.latents import dimension_rates

    opened = open_run(run, device)
    form = _form(opened, out)
    data = opened.data(split)
    if index >= len(data):
        raise UsageError(f"the {split} split has {len(data):,} examples, numbered from 0")
    with opened.model.inference():
        try:
            rates = dimension_rates(opened.model, data.first(min(1000, len(data))))
        except NotImplementedError as error:
            raise UsageError(f"traversals are not {error}") from error
    order = rates.argsort(descending=True)[:count]
    sheet = opened.model.traverse(data.first(index + 1).part(index, index + 1), order, steps, span)
    said = _write(form, out, sheet.flatten(0, 1), steps)
    sayer(ctx)(f"{said}: dimensions {', '.join(f'{d} ({rates[d]:.2f} nats)' for d in order.tolist())}")


@click.command("interpolate")
@run_argument
@click.option("--from", "first", default=0, show_default=True, type=click.IntRange(0), help="An index in the split.")
@click.option("--to", "second", default=1, show_default=True, type=click.IntRange(0), help="Another.")
@click.option("--steps", default=12, show_default=True, type=click.IntRange(2, 1000), help="Points on the way.")
@split_option
@_out("interpolation.png", _FORMS)
@device_option
@click.pass_context
def interpolate_command(
    ctx: click.Context, run: Path, first: int, second: int, steps: int, split: str, out: Path, device: str
) -> None:
    """Show the way between two examples of a split, straight through the latent space."""
    opened = open_run(run, device)
    form = _form(opened, out)
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
    sayer(ctx)(_write(form, out, path[0], steps))
