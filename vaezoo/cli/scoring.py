"""Commands that judge examples with a trained model: their class, and how usual they are."""

from __future__ import annotations

import csv
from pathlib import Path

import click

from vaezoo.cli.models import device_option, open_run, run_argument, split_option
from vaezoo.cli.output import json_option, line_printer, metrics_table, print_json
from vaezoo.utils.errors import UsageError


@click.command("classify")
@run_argument
@split_option
@click.option("--samples", default=50, show_default=True, type=click.IntRange(1), help="For each log p(x|y).")
@click.option("--limit", default=0, type=click.IntRange(0), help="How many examples; 0 for all.")
@device_option
@json_option
def classify_command(run: Path, split: str, samples: int, limit: int, device: str, as_json: bool) -> None:
    """Classify a split with RUN's model by Bayes' rule over log p(x|y) + log p(y); accuracy and calibration."""
    opened = open_run(run, device)
    if opened.model.conditioner is None or not opened.model.data.classes:
        raise UsageError("needs a model that is conditional on a label")
    found = opened.evaluate(split, [{"type": "classification", "samples": samples, "limit": limit}])
    print_json({"run": str(run), "evaluation": found}) if as_json else metrics_table(found)


@click.command("score")
@run_argument
@click.argument("data", default="test", metavar="[SPLIT|FILE.npz]")
@click.option(
    "--method",
    type=click.Choice(["reconstruction", "elbo", "nll", "critic", "mahalanobis"]),
    default="reconstruction",
    show_default=True,
)
@click.option("--samples", default=10, show_default=True, type=click.IntRange(1), help="Of the posterior.")
@click.option("--per-step", is_flag=True, help="Divide by the steps of each sequence.")
@click.option("--out", type=click.Path(path_type=Path), default="scores.csv", show_default=True, help="A .csv.")
@device_option
@click.pass_context
def score_command(
    ctx: click.Context, run: Path, data: str, method: str, samples: int, per_step: bool, out: Path, device: str
) -> None:
    """Score each example of a split, or of the array x of a file: larger is less like RUN's training data.

    The csv has a row for each example, with its number, score and, where there is one, label.
    """
    from vaezoo.evaluation.anomaly import scores
    from vaezoo.utils.files import atomic_write

    opened = open_run(run, device)
    loader = opened.data(data) if data in ("train", "validation", "test") else opened.from_file(Path(data))
    reference = opened.data("train") if method == "mahalanobis" else None
    try:
        critics = opened.regularizers if method == "critic" else ()
        options = {"reference": reference, "critics": critics, "per_step": per_step}
        found = scores(opened.model, loader, method, samples, **options)  # type: ignore[arg-type]
    except NotImplementedError as error:
        raise UsageError(f"--method {method}: {error}") from error
    labels = loader.condition if loader.condition is not None and loader.condition.dim() == 1 else None
    with atomic_write(out) as temporary, open(temporary, "w", newline="", encoding="utf-8") as written:
        writer = csv.writer(written)
        writer.writerow(["example", "score", *(["label"] if labels is not None else [])])
        for index, score in enumerate(found.tolist()):
            label = [] if labels is None else [opened.model.data.classes[int(labels[index])]]
            writer.writerow([index, score, *label])
    line_printer(ctx)(f"wrote {len(found):,} scores to {out}")
