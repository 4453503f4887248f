"""``vaezoo sweep``."""

from __future__ import annotations

from pathlib import Path

import click

from vaezoo.cli.output import line_printer, overrides_option, table


@click.command("sweep")
@click.argument("spec", type=click.Path(path_type=Path))
@click.option(
    "--param", "parameters", multiple=True, required=True, metavar="KEY=LOW..HIGH[:log]", help="Or KEY=A,B,C; repeat."
)
@click.option("--metric", default="elbo", show_default=True, help="The figure of evaluation.json that decides.")
@click.option("--minimize", is_flag=True, help="Less of it is better.")
@click.option("--trials", default=10, show_default=True, type=click.IntRange(1), help="How many, in this process.")
@click.option("--prune", metavar="FIGURE", help="End trials that fall behind in this figure of validation, say bound.")
@overrides_option
@click.option("--out", type=click.Path(path_type=Path), help="The sweep's folder.  [default: sweeps/NAME]")
@click.pass_context
def sweep_command(
    ctx: click.Context,
    spec: Path,
    parameters: tuple[str, ...],
    metric: str,
    minimize: bool,
    trials: int,
    prune: str | None,
    overrides: tuple[str, ...],
    out: Path | None,
) -> None:
    """Run SPEC under different options and compare.

    The same command again goes on with the study in --out, and several processes may work on one. The folder gets
    trials.csv, and rate-distortion.png with a point for each run.
    """
    import csv
    import io

    from vaezoo.runs.report.pictures import rate_distortion
    from vaezoo.runs.sweep import Parameter, rows, sweep
    from vaezoo.spec.load import load
    from vaezoo.utils.allocator import tune_allocator
    from vaezoo.utils.files import write_bytes, write_text

    tune_allocator()
    wanted = [Parameter.parse(text) for text in parameters]
    folder = out or Path("sweeps") / load(spec, overrides).name
    study = sweep(
        spec,
        wanted,
        metric,
        trials,
        out=folder,
        overrides=overrides,
        maximize=not minimize,
        prune=prune,
        print_line=line_printer(ctx),
    )
    headings = ("trial", "state", "parameters", metric, "rate", "distortion", "run")
    found = rows(study)
    text = io.StringIO()
    csv.writer(text).writerows([headings, *found])
    write_text(folder / "trials.csv", text.getvalue())
    points = [(float(row[4]), float(row[5]), _short(row[2])) for row in found if row[4]]
    if points:
        write_bytes(folder / "rate-distortion.png", rate_distortion(points))
    table(headings, found)
    click.echo(f"sweep  {folder}")


def _short(parameters: str) -> str:
    """``weight=2`` of ``regularizers.0.weight=2``, for labels."""
    pairs = (pair.partition("=") for pair in parameters.split(" "))
    return " ".join(f"{key.rpartition('.')[2]}={value}" for key, _, value in pairs)
