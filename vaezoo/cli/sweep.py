"""``vaezoo sweep``."""

from __future__ import annotations

from pathlib import Path

import click

from vaezoo.cli.group import rank
from vaezoo.cli.output import line_printer, overrides_option, table


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
    help="The metric of evaluation.json to optimize.",
)
@click.option("--minimize", is_flag=True, help="Lower values of the metric are better.")
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
@click.pass_context
def sweep_command(
    ctx: click.Context,
    *,
    spec: Path,
    parameters: tuple[str, ...],
    metric: str,
    minimize: bool,
    trials: int,
    prune: str | None,
    overrides: tuple[str, ...],
    out: Path | None,
) -> None:
    """Run SPEC with different option values and compare the results.

    Repeating the command continues the study in --out, and several processes can share it. The
    folder gets trials.csv, and rate-distortion.png with a point for each run.
    """
    import csv
    import io

    from vaezoo.runs.report.pictures import rate_distortion
    from vaezoo.runs.sweep import Parameter, sweep, trial_rows
    from vaezoo.spec.load import load_spec
    from vaezoo.utils.allocator import tune_allocator
    from vaezoo.utils.files import write_bytes, write_text

    tune_allocator()
    parsed_parameters = [Parameter.parse(text) for text in parameters]
    folder = out or Path("sweeps") / load_spec(spec, overrides).name
    study = sweep(
        spec,
        parsed_parameters,
        metric,
        trials,
        out=folder,
        overrides=overrides,
        maximize=not minimize,
        prune=prune,
        print_line=line_printer(ctx),
    )
    if rank():
        return
    headings = ("trial", "state", "parameters", metric, "rate", "distortion", "run")
    rows = trial_rows(study)
    text = io.StringIO()
    csv.writer(text).writerows([headings, *rows])
    write_text(folder / "trials.csv", text.getvalue())
    points = [(float(row[4]), float(row[5]), _short_label(row[2])) for row in rows if row[4]]
    if points:
        write_bytes(folder / "rate-distortion.png", rate_distortion(points))
    table(headings, rows)
    click.echo(f"sweep  {folder}")


def _short_label(parameters: str) -> str:
    """Parameters without their paths: ``weight=2`` for ``regularizers.0.weight=2``."""
    pairs = (pair.partition("=") for pair in parameters.split(" "))
    return " ".join(f"{key.rpartition('.')[2]}={value}" for key, _, value in pairs)
