"""``vaezoo run`` and ``vaezoo resume``."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vaezoo.cli.output import json_option, line_printer, metrics_table, overrides_option, print_json

if TYPE_CHECKING:
    from vaezoo.runs.run import Run


def _report(run: Run, as_json: bool) -> None:
    if as_json:
        print_json({"run": str(run.path), "evaluation": run.evaluation})
        return
    metrics_table(run.evaluation)
    click.echo(f"run       {run.path}")
    click.echo(f"pictures  {run.directory.pictures}")
    click.echo(f"report    {run.directory.report}")


@click.command("run")
@click.argument("spec", type=click.Path(path_type=Path))
@overrides_option
@click.option("--out", default="runs", show_default=True, metavar="DIR", help="The folder that receives the run.")
@click.option("--dry-run", is_flag=True, help="Compose, train one batch, show shapes and sizes; write nothing.")
@json_option
@click.pass_context
def run_command(
    ctx: click.Context, spec: Path, overrides: tuple[str, ...], out: str, dry_run: bool, as_json: bool
) -> None:
    """Train, evaluate and show what SPEC describes.

    The run's directory holds the resolved spec, metrics, checkpoints, weights, pictures and report.html.
    """
    from vaezoo.utils.allocator import tune_allocator

    tune_allocator()
    if dry_run:
        from vaezoo.runs.dry_run import dry_run as rehearse
        from vaezoo.spec.load import load

        found = rehearse(load(spec, overrides))
        print_json(found.as_json()) if as_json else click.echo(found.as_text())
        return
    from vaezoo.cli.progress import progress
    from vaezoo.runs.start import run

    with closing(progress()) as shown:
        finished = run(
            spec, overrides, out=out, callbacks=[] if ctx.obj["quiet"] else [shown], print_line=line_printer(ctx)
        )
    _report(finished, as_json)


@click.command("resume")
@click.argument("run", type=click.Path(path_type=Path))
@json_option
@click.pass_context
def resume_command(ctx: click.Context, run: Path, as_json: bool) -> None:
    """Take RUN up from its last checkpoint, as if it had never stopped."""
    from vaezoo.utils.allocator import tune_allocator

    tune_allocator()
    from vaezoo.cli.progress import progress
    from vaezoo.runs.start import resume

    with closing(progress()) as shown:
        finished = resume(run, callbacks=[] if ctx.obj["quiet"] else [shown], print_line=line_printer(ctx))
    _report(finished, as_json)
