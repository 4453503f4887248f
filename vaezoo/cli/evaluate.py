"""The command ``vaezoo evaluate``."""

from __future__ import annotations

from pathlib import Path

import click

from vaezoo.cli.bottom_line import working
from vaezoo.cli.output import json_option, metrics_table, print_json
from vaezoo.cli.shared import (
    check_sampler,
    data_argument,
    device_option,
    metric_errors,
    open_examples,
    open_run,
    run_argument,
    sampler_option,
)
from vaezoo.data.splits import SPLIT_NAMES
from vaezoo.utils.errors import VaezooError


@click.command("evaluate")
@run_argument
@data_argument
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="METRIC",
    help="Measure this metric instead of those in the spec: a name, or a mapping such as "
    "'{type: nll, samples: 100}'. May be repeated.",
)
@sampler_option
@device_option
@json_option
@click.pass_context
def evaluate_command(
    ctx: click.Context,
    *,
    path: Path,
    data: str,
    metrics: tuple[str, ...],
    sampler: str | None,
    device: str,
    as_json: bool,
) -> None:
    """Evaluate a model on a split of its data, on a file or on a folder.

    The examples are those of a split (train, validation, test, all; by default test), or of your
    own files, which are read as in training.

    On the test split with the metrics of the spec, the result replaces evaluation.json. The
    command fails if a metric is NaN or infinite, after it wrote and printed the others; with
    --metric, also if one is not defined for this model or data.

    With --sampler, the bounds are those of the model with the sampler as its prior.
    """
    from vaezoo.evaluation.evaluate import EvaluationError
    from vaezoo.runs.example_values import store_evaluation
    from vaezoo.spec.tree import parse

    run, failure = open_run(path, device), None
    requested_metrics = [parse(metric, "--metric").plain() for metric in metrics]
    if sampler is not None:
        check_sampler(run, sampler)
    try:
        with metric_errors(), working(f"evaluating {data}"):
            examples = None if data in SPLIT_NAMES else open_examples(ctx, run, data).loader
            evaluation = run.evaluate(
                data, requested_metrics or None, sampler=sampler, examples=examples
            )
    except EvaluationError as error:
        evaluation, failure = error.evaluation, error
    replaces_file = data == "test" and not requested_metrics and sampler is None
    if replaces_file and run.directory.spec.is_file():
        store_evaluation(run.directory, evaluation, run.data())
    print_json({"run": str(path), "evaluation": evaluation}) if as_json else metrics_table(
        evaluation
    )
    if failure is not None:
        raise failure
    if requested_metrics and evaluation["undefined"]:
        reasons = "; ".join(
            f"{name}: {reason}" for name, reason in evaluation["undefined"].items()
        )
        raise VaezooError(f"not defined for this model or data: {reasons}")
