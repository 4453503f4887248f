"""Commands that classify examples or compute their anomaly scores."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import click

from vaezoo.cli.bottom_line import working
from vaezoo.cli.output import json_option, line_printer, metrics_table, print_json
from vaezoo.cli.shared import (
    data_argument,
    device_option,
    open_run,
    run_argument,
    split_option,
)
from vaezoo.utils.errors import UsageError


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
    with working(f"classifying the {split} split"):
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
    out: Path,
    device: str,
) -> None:
    """Compute an anomaly score for each example of a split, a file or a folder.

    The larger the score, the less an example resembles the training data. The csv file has a row
    for each example: what names it (its file, its number, the identifiers of a table), its score
    and, if there is one, its label. A score that is NaN or infinite is left empty, and the command
    fails once the others are written.
    """
    from vaezoo.evaluation.anomaly import scores
    from vaezoo.runs.named_examples import named_examples
    from vaezoo.utils.files import atomic_write
    from vaezoo.utils.finite import require_finite

    run = open_run(path, device)
    examples = named_examples(run, data)
    loader = examples.loader
    reference = run.data("train") if method == "mahalanobis" else None
    try:
        critics = run.regularizers if method == "critic" else ()
        options = {"reference": reference, "critics": critics, "per_step": per_step}
        with working(f"scoring {len(loader):,} examples"):
            result = scores(run.model, loader, method, samples, **options)  # type: ignore[arg-type]
    except NotImplementedError as error:
        raise UsageError(f"--method {method}: {error}") from error
    classes = run.model.data.classes
    has_labels = bool(classes) and loader.condition is not None and loader.condition.dim() == 1
    labels = loader.condition.tolist() if has_labels else None
    with (
        atomic_write(out) as temporary,
        open(temporary, "w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file)
        columns = [*examples.names, "score", *(["label"] if labels is not None else [])]
        writer.writerow(columns)
        names = zip(*examples.names.values(), strict=True)
        for index, (name, score) in enumerate(zip(names, result.tolist(), strict=True)):
            row = [*name, score if math.isfinite(score) else ""]
            if labels is not None:  # below 0 if it is unknown
                row.append(classes[labels[index]] if labels[index] >= 0 else "")
            writer.writerow(row)
    line_printer(ctx)(f"wrote {len(result):,} scores to {out}")
    require_finite(result, f"{data}: the score of example")
