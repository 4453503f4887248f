"""Commands that classify examples or compute their anomaly scores."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vaezoo.cli.output import json_option, line_printer, metrics_table, print_json
from vaezoo.cli.shared import (
    data_argument,
    device_option,
    open_run,
    run_argument,
    split_option,
)
from vaezoo.utils.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from vaezoo.data.loader import Loader
    from vaezoo.runs.run import Run


@click.command("classify")
@run_argument
@split_option
@click.option(
    "--samples",
    default=50,
    show_default=True,
    type=click.IntRange(1),
    help="Number of importance samples for each log p(x|y).",
)
@click.option("--limit", default=0, type=click.IntRange(0), help="Number of examples; 0 for all.")
@device_option
@json_option
def classify_command(
    *, path: Path, split: str, samples: int, limit: int, device: str, as_json: bool
) -> None:
    """Classify a split by Bayes' rule; print accuracy and calibration.

    The predicted class has the largest log p(x|y) + log p(y).
    """
    run = open_run(path, device)
    if run.model.conditioner is None or not run.model.data.classes:
        raise UsageError("this command needs a model that is conditional on a label")
    evaluation = run.evaluate(
        split, [{"type": "classification", "samples": samples, "limit": limit}]
    )
    print_json({"run": str(path), "evaluation": evaluation}) if as_json else metrics_table(
        evaluation
    )


@click.command("score")
@run_argument
@data_argument
@click.option(
    "--method",
    type=click.Choice(["reconstruction", "elbo", "nll", "critic", "mahalanobis"]),
    default="reconstruction",
    show_default=True,
)
@click.option(
    "--samples",
    default=10,
    show_default=True,
    type=click.IntRange(1),
    help="Number of posterior samples for each example.",
)
@click.option("--per-step", is_flag=True, help="Divide by the number of steps of each sequence.")
@click.option(
    "--steps-out",
    type=click.Path(path_type=Path),
    help="A .csv file for the scores of single steps of sequences.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default="scores.csv",
    show_default=True,
    help="A .csv file.",
)
@device_option
@click.pass_context
def score_command(
    ctx: click.Context,
    *,
    path: Path,
    data: str,
    method: str,
    samples: int,
    per_step: bool,
    steps_out: Path | None,
    out: Path,
    device: str,
) -> None:
    """Compute an anomaly score for each example of a split, a file or a folder.

    The larger the score, the less an example resembles the training data. The csv file has a row
    for each example: what names it (its file, its number, the identifiers of a table, the row and
    the time at which a window starts), its score and, if there is one, its label. With --steps-out
    a second file has a row for each step of the sequences, whose score is the mean over the
    windows that contain it. A score that is NaN or infinite is left empty, and the command fails
    once the others are written.
    """
    from vaezoo.evaluation.anomaly import scores, step_scores
    from vaezoo.runs.named_examples import named_examples
    from vaezoo.utils.finite import require_finite

    if steps_out is not None and method != "reconstruction":
        raise UsageError(f"--steps-out: steps have no score of --method {method}")
    run = open_run(path, device)
    examples = named_examples(run, data)
    loader, say = examples.loader, line_printer(ctx)
    reference = run.data("train") if method == "mahalanobis" else None
    steps = None
    try:
        critics = run.regularizers if method == "critic" else ()
        options = {"reference": reference, "critics": critics, "per_step": per_step}
        result = scores(run.model, loader, method, samples, **options)  # type: ignore[arg-type]
        if steps_out is not None:
            steps = examples.by_step(*step_scores(run.model, loader, samples))
    except NotImplementedError as error:
        raise UsageError(f"--method {method}: {error}") from error
    _write_scores(out, examples.names, result, _label_names(run, loader))
    say(f"wrote {len(result):,} scores to {out}")
    if steps is not None and steps_out is not None:
        _write_scores(steps_out, *steps)
        say(f"wrote the scores of {len(steps[1]):,} steps to {steps_out}")
    require_finite(result, f"{data}: the score of example")


def _label_names(run: Run, loader: Loader) -> list[str] | None:
    """The class of each example, empty where it is not known; None if there are no classes."""
    classes, labels = run.model.data.classes, loader.condition
    if not classes or labels is None or labels.dim() != 1:
        return None
    return [classes[label] if label >= 0 else "" for label in labels.tolist()]


def _write_scores(
    out: Path,
    names: Mapping[str, Sequence[Any]],
    scores: Tensor,
    labels: Sequence[str] | None = None,
) -> None:
    """Writes a row for each score: what names it, the score, and a label if there are any."""
    from vaezoo.utils.files import atomic_write

    cells = [score if math.isfinite(score) else "" for score in scores.tolist()]
    columns: dict[str, Sequence[Any]] = {**names, "score": cells}
    columns |= {} if labels is None else {"label": labels}
    with (
        atomic_write(out) as temporary,
        open(temporary, "w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
