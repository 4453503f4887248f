"""``vaezoo sweep``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from vaezoo.cli.group import rank
from vaezoo.cli.output import (
    echo,
    json_option,
    line_printer,
    overrides_option,
    print_json,
    table,
)
from vaezoo.utils import own_process
from vaezoo.utils.paths import shell_word


@click.command("sweep")
@click.argument("spec", type=click.Path(path_type=Path))
@click.option(
    "--param",
    "parameters",
    multiple=True,
    required=True,
    metavar="KEY=LOW..HIGH[:log]",
    help="An option of the spec and its range, or its values as KEY=A,B,C. May be repeated.",
)
@click.option(
    "--metric",
    default="elbo",
    show_default=True,
    help="The metric of the spec's `evaluate` to optimize, on the validation split.",
)
@click.option(
    "--maximize/--minimize",
    default=None,
    help="Whether higher or lower values of the metric are better.  [default: as it declares]",
)
@click.option(
    "--trials",
    default=10,
    show_default=True,
    type=click.IntRange(1),
    help="Number of trials in this process.",
)
@click.option(
    "--prune",
    metavar="METRIC",
    help="End trials early that are worse than others in this validation metric, such as bound.",
)
@overrides_option
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="The folder of the sweep.  [default: sweeps/NAME]",
)
@json_option
@click.pass_context
def sweep_command(
    ctx: click.Context,
    *,
    spec: Path,
    parameters: tuple[str, ...],
    metric: str,
    maximize: bool | None,
    trials: int,
    prune: str | None,
    overrides: tuple[str, ...],
    out: Path | None,
    as_json: bool,
) -> None:
    """Run SPEC with different option values and compare the results.

    Trials are compared on the validation split. The best one is then evaluated on the test split,
    and no other is.

    Repeating the command continues the study in --out, and several processes can share it. The
    folder gets trials.csv, and rate-distortion.png with a point for each run (validation split).
    """
    import csv
    import io

    from vaezoo.cli.progress import training_progress
    from vaezoo.runs.report.pictures import rate_distortion
    from vaezoo.runs.study import Parameter, decides_by, trial_records, trial_table
    from vaezoo.runs.sweep import sweep
    from vaezoo.spec.load import load_spec
    from vaezoo.utils.allocator import tune_allocator
    from vaezoo.utils.files import write_bytes, write_text

    tune_allocator()
    if own_process.is_installed:  # the same command goes on with the next trial
        own_process.resume_command = " ".join(["vaezoo", *map(shell_word, sys.argv[1:])])
    parsed_parameters = [Parameter.parse(text) for text in parameters]
    folder = out or Path("sweeps") / load_spec(spec, overrides).name
    with training_progress(ctx, runs=trials) as callbacks:
        study = sweep(
            spec,
            parsed_parameters,
            metric,
            trials,
            out=folder,
            overrides=overrides,
            maximize=maximize,
            prune=prune,
            callbacks=callbacks,
            print_line=line_printer(ctx),
        )
    if rank():
        return
    records = trial_records(study, folder)
    headings, rows = trial_table(records, metric)
    text = io.StringIO()
    csv.writer(text).writerows([headings, *rows])
    write_text(folder / "trials.csv", text.getvalue())
    points = [
        (record["validation"]["rate"], record["validation"]["distortion"], _short_label(row[2]))
        for record, row in zip(records, rows, strict=True)
        if {"rate", "distortion"} <= record["validation"].keys()
    ]
    if points:
        write_bytes(folder / "rate-distortion.png", rate_distortion(points))
    if as_json:
        direction = study.direction.name.lower()
        chosen = {"metric": metric, "split": "validation", "direction": direction}
        print_json({"sweep": str(folder), "chosen_by": chosen, "trials": records})
        return
    table(headings, rows)
    for record in records:
        if record["chosen"]:
            echo(f"chosen  trial {record['trial']}, by {decides_by(study)}")
    echo(f"sweep   {folder}")


def _short_label(parameters: str) -> str:
    """Parameters without their paths: ``weight=2`` for ``regularizers.0.weight=2``."""
    pairs = (pair.partition("=") for pair in parameters.split(" "))
    return " ".join(f"{key.rpartition('.')[2]}={value}" for key, _, value in pairs)
