"""Commands that classify examples or compute their anomaly scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vaezoo.cli.bottom_line import working
from vaezoo.cli.output import (
    json_option,
    line_printer,
    metrics_table,
    print_json,
    report_files,
    table,
)
from vaezoo.cli.rows import check_rows_file, to_records, write_rows
from vaezoo.cli.shared import (
    data_argument,
    device_option,
    open_examples,
    open_run,
    out_option,
    run_argument,
)
from vaezoo.utils.columns import free_names
from vaezoo.utils.errors import UsageError

if TYPE_CHECKING:
    from vaezoo.data.loader import Loader
    from vaezoo.runs.named_examples import NamedExamples
    from vaezoo.runs.run import Run


_SHOWN = 20
"""How many predictions are printed where they are not written to a file."""


@click.command("classify")
@run_argument
@data_argument
@click.option(
    "--samples",
    default=50,
    show_default=True,
    type=click.IntRange(1),
    help="Number of importance samples for each log p(x|y).",
)
@click.option("--limit", default=0, type=click.IntRange(0), help="Number of examples; 0 for all.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Write the predictions to this .csv or .json file instead of printing them.",
)
@device_option
@json_option
@click.pass_context
def classify_command(
    ctx: click.Context,
    *,
    path: Path,
    data: str,
    samples: int,
    limit: int,
    out: Path | None,
    device: str,
    as_json: bool,
) -> None:
    """Classify the examples of a split, a file or a folder by Bayes' rule.

    The examples are those of a split (train, validation, test, all; by default test), or of your
    own files, which are read as in training. They need no labels. The predicted class has the
    largest log p(x|y) + log p(y); each example gets it with the probability of every class. Where
    labels are known, accuracy and calibration are printed. A column of yours that is called as one
    of the results gets " (source)" added to its name.
    """
    if out is not None:
        check_rows_file(out)
    run = open_run(path, device)
    if run.model.conditioner is None or not run.model.data.classes:
        raise UsageError(
            "classify: needs a model that is conditional on a label; train one with the spec's "
            "model.condition: {type: label}"
        )
    examples = open_examples(ctx, run, data, needs_condition=False)
    with working(f"classifying {len(examples.loader):,} examples"):
        columns, evaluation = _classify(
            run, examples.first(limit) if limit else examples, data, samples
        )
    if out is not None:
        write_rows(out, columns)
    if as_json:
        files = [] if out is None else [str(out)]
        content = {"run": str(path), "data": data, "files": files, "evaluation": evaluation}
        print_json({**content, "predictions": to_records(columns)})
        return
    if evaluation is not None:
        metrics_table(evaluation)
    n = len(columns["predicted"])
    if out is not None:
        report_files(ctx, [out], what=f"{n:,} predictions", as_json=False, content={})
    else:
        _print_predictions(columns)
        if n > _SHOWN:
            line_printer(ctx)(f"the first {_SHOWN} of {n:,}; --out writes all")


def _classify(
    run: Run, examples: NamedExamples, data: str, samples: int
) -> tuple[dict[str, Sequence[Any]], dict[str, Any] | None]:
    """What names each example, its classes with their probabilities; and an evaluation.

    The evaluation is None if no label is known.
    """
    from vaezoo.evaluation.classification import judge, predict
    from vaezoo.evaluation.evaluate import describe_estimates
    from vaezoo.utils.seeds import seeded

    model, seed = run.model, run.spec.seed
    # the draws of the metric of that name, so that its numbers are those of evaluation.json
    with model.inference(), seeded(model.device, seed, "evaluation", "classification"):
        try:
            predictions = predict(model, examples.loader, samples=samples)
        except NotImplementedError as error:
            raise UsageError(f"classify: {error}") from error
    probability, classes = predictions.log_posterior.exp(), model.data.classes
    columns: dict[str, Sequence[Any]] = {
        "predicted": [classes[i] for i in probability.argmax(1).tolist()],
        **{
            f"p({name})": column
            for name, column in zip(classes, probability.T.tolist(), strict=True)
        },
    }
    labels = predictions.labels
    if labels is None or not bool((labels >= 0).any()):
        return {**free_names(examples.names, columns), **columns}, None
    columns["label"] = [classes[i] if i >= 0 else None for i in labels.tolist()]
    estimates = judge(predictions, samples=samples)
    evaluation = describe_estimates(estimates, data, seed=seed)
    return {**free_names(examples.names, columns), **columns}, evaluation


def _print_predictions(columns: Mapping[str, Sequence[Any]]) -> None:
    """Prints the first rows: what names them, and the predicted class with its probability."""
    names = [name for name in columns if not name.startswith("p(")]
    place = names.index("predicted") + 1
    rows = []
    for record in to_records({name: values[:_SHOWN] for name, values in columns.items()}):
        cells = ["" if record[name] is None else record[name] for name in names]
        probability = record[f"p({record['predicted']})"]
        rows.append([*cells[:place], f"{probability:.3f}", *cells[place:]])
    table([*names[:place], "probability", *names[place:]], rows)


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
    help="A .csv or .json file for the scores of single steps of sequences.",
)
@out_option("scores.csv", "A .csv or .json file with a row for each example.")
@device_option
@json_option
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
    as_json: bool,
) -> None:
    """Compute an anomaly score for each example of a split, a file or a folder.

    The examples are those of a split (train, validation, test, all; by default test), or of your
    own files, which are read as in training. The larger the score, the less an example resembles
    the training data. The file has a row for each example: what names it (its file, its number
    there, the first step of a window, the identifiers of a table), its score and, if there is one,
    its label. With --steps-out a second file has a row for each step of the sequences, whose score
    is the mean over the windows that contain it. A score that is NaN or infinite is left empty,
    and the command fails once the others are written. A column of yours that is called as one of
    the results gets " (source)" added to its name.
    """
    from vaezoo.evaluation.anomaly import scores, step_scores
    from vaezoo.utils.finite import require_finite
    from vaezoo.utils.seeds import seeded

    check_rows_file(out)
    if steps_out is not None:
        check_rows_file(steps_out)
        if method != "reconstruction":
            raise UsageError(f"--steps-out: steps have no score of --method {method}")
    run = open_run(path, device)
    examples = open_examples(ctx, run, data)
    loader = examples.loader
    reference = run.data("train") if method == "mahalanobis" else None
    steps = None
    try:
        critics = run.regularizers if method == "critic" else ()
        options = {"reference": reference, "critics": critics, "per_step": per_step}
        with working(f"scoring {len(loader):,} examples"), seeded(run.model.device, 0, "score"):
            result = scores(run.model, loader, method, samples, **options)  # type: ignore[arg-type]
            if steps_out is not None:
                steps = examples.by_step(*step_scores(run.model, loader, samples))
    except NotImplementedError as error:
        raise UsageError(f"--method {method}: {error}") from error
    results = {"score": result.tolist(), **_labels(run, loader)}
    columns = {**free_names(examples.names, results), **results}
    write_rows(out, columns)
    content: dict[str, Any] = {"run": str(path), "data": data, "method": method}
    content["scores"] = to_records(columns) if as_json else []
    what, files = f"{len(result):,} scores", [out]
    if steps is not None and steps_out is not None:
        names, values = steps
        write_rows(steps_out, {**free_names(names, ["score"]), "score": values.tolist()})
        what, files = f"{what} and those of {len(values):,} steps", [out, steps_out]
    report_files(ctx, files, what=what, as_json=as_json, content=content)
    require_finite(result, f"{data}: the score of example")


def _labels(run: Run, loader: Loader) -> dict[str, list[str | None]]:
    """The column of labels, None where one is not known; empty if there are none."""
    classes = run.model.data.classes
    if not classes or loader.condition is None or loader.condition.dim() != 1:
        return {}
    return {"label": [classes[i] if i >= 0 else None for i in loader.condition.tolist()]}
