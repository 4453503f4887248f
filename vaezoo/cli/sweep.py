"""``vaezoo sweep``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vaezoo.cli.group import resume_by_same_command
from vaezoo.cli.output import (
    echo,
    json_option,
    line_printer,
    overrides_option,
    print_json,
    print_to_stderr,
    processes_option,
    retry_option,
    table,
)
from vaezoo.utils.errors import VaezooError
from vaezoo.utils.exit_codes import EXIT_OK

if TYPE_CHECKING:
    from vaezoo.bench.engine import Engine


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
    type=click.IntRange(1, 10_000),
    help="How many settings to try in all; fewer combinations of values are each tried once.",
)
@click.option(
    "--prune",
    metavar="bound|elbo|distortion",
    help="End trials early whose validation records are worse than the median of the others.",
)
@processes_option
@retry_option
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
    processes: int,
    retry: bool,
    overrides: tuple[str, ...],
    out: Path | None,
    as_json: bool,
) -> int:
    """Run SPEC with different option values and compare the results.

    Trials are compared on the validation split. The best one is then evaluated on the test split,
    and no other is. A trial that fails does not end the sweep.

    After an interruption or a kill, the same command goes on; with more --trials it tries more.
    The folder gets trials.csv, and rate-distortion.png with a point for each run (validation
    split).
    """
    from vaezoo.bench.pool import run_suite
    from vaezoo.bench.sweep import open_sweep, sweep_trials
    from vaezoo.cli.progress import suite_progress
    from vaezoo.spec.load import load_spec

    folder = out or Path("sweeps") / load_spec(spec, overrides).name
    engine = open_sweep(
        spec,
        parameters,
        metric=metric,
        trials=trials,
        out=folder,
        overrides=overrides,
        maximize=maximize,
        prune=prune,
    )
    resume_by_same_command()
    with suite_progress(ctx) as show:
        failures = run_suite(
            engine,
            processes=processes,
            retry=retry,
            print_line=line_printer(ctx),
            show=show,
        )
    records = [trial.as_json() for trial in sweep_trials(engine)]
    _write_files(folder, records, metric)
    _print_trials(engine, records, metric, as_json)
    if any(record["test"] for record in records):
        return EXIT_OK
    for name, error in failures:
        print_to_stderr(f"failed: {name}: {error}")
    return VaezooError.exit_code


def _write_files(folder: Path, records: Sequence[dict[str, Any]], metric: str) -> None:
    """Writes the table of the trials, and their rates and distortions as a picture."""
    import csv
    import io

    from vaezoo.bench.sweep import trial_table
    from vaezoo.runs.report.pictures import rate_distortion
    from vaezoo.utils.files import write_bytes, write_text

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


def _print_trials(
    engine: Engine, records: Sequence[dict[str, Any]], metric: str, as_json: bool
) -> None:
    from vaezoo.bench.sweep import trial_table

    study = engine.study(engine.cases[0])
    if as_json:
        direction = "maximize" if study.maximize else "minimize"
        chosen = {"metric": metric, "split": "validation", "direction": direction}
        print_json({"sweep": str(engine.out), "chosen_by": chosen, "trials": records})
        return
    table(*trial_table(records, metric))
    for record in records:
        if record["chosen"]:
            echo(f"chosen  trial {record['trial']}, by {study.decides_by}")
    echo(f"sweep   {engine.out}")


def _short_label(parameters: str) -> str:
    """Parameters without their paths: ``weight=2`` for ``regularizers.0.weight=2``."""
    pairs = (pair.partition("=") for pair in parameters.split(" "))
    return " ".join(f"{key.rpartition('.')[2]}={value}" for key, _, value in pairs)
