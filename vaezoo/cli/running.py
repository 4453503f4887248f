"""``vaezoo run`` and ``vaezoo resume``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from vaezoo.cli.group import leave_to_main_process
from vaezoo.cli.output import (
    echo,
    json_option,
    line_printer,
    metrics_table,
    overrides_option,
    print_json,
)

if TYPE_CHECKING:
    from vaezoo.runs.run import Run


def _print_results(ctx: click.Context, run: Run, as_json: bool) -> None:
    evaluation = run.stored_evaluation(run.evaluated_split)
    if as_json:
        print_json({"run": str(run.path), "evaluation": evaluation})
        return
    metrics_table(evaluation)
    echo(f"run       {run.path}")
    echo(f"pictures  {run.directory.pictures}")
    echo(f"report    {run.directory.report}")
    if ctx.obj["quiet"]:
        return
    from vaezoo.cli.next_commands import next_commands

    line_printer(ctx)("\nnext:")
    for command in next_commands(run):
        line_printer(ctx)(f"  {command}")


@click.command("run")
@click.argument("spec", type=click.Path(path_type=Path))
@overrides_option
@click.option(
    "--out",
    default="runs",
    show_default=True,
    metavar="DIR",
    help="The folder in which to create the run.",
)
@click.option(
    "--dry-run",
    "is_dry_run",
    is_flag=True,
    help="Compose the model, train one batch, print shapes and sizes; write nothing.",
)
@json_option
@click.pass_context
def run_command(
    ctx: click.Context,
    *,
    spec: Path,
    overrides: tuple[str, ...],
    out: str,
    is_dry_run: bool,
    as_json: bool,
) -> None:
    """Train and evaluate the model that SPEC describes, and draw pictures.

    The run's directory contains the resolved spec, metrics, checkpoints, weights, pictures and
    report.html. Several processes train one model: torchrun --nproc-per-node 2 -m vaezoo run SPEC.
    """
    from vaezoo.utils.allocator import tune_allocator

    tune_allocator()
    if is_dry_run:
        leave_to_main_process(ctx)
        from vaezoo.runs.dry_run import dry_run
        from vaezoo.spec.load import load_spec

        report = dry_run(load_spec(spec, overrides))
        print_json(report.as_json()) if as_json else echo(report.as_text())
        return
    from vaezoo.cli.progress import training_progress
    from vaezoo.runs.start import run

    with training_progress(ctx) as callbacks:
        finished = run(spec, overrides, out=out, callbacks=callbacks, print_line=line_printer(ctx))
    _print_results(ctx, finished, as_json)


@click.command("resume")
@click.argument("path", type=click.Path(path_type=Path), metavar="RUN")
@overrides_option
@json_option
@click.pass_context
def resume_command(
    ctx: click.Context, *, path: Path, overrides: tuple[str, ...], as_json: bool
) -> None:
    """Resume RUN from its last checkpoint; the result is the same as without the interruption.

    RUN is a path, the beginning of one, `latest` or NAME/latest.

    With -s the run goes on for longer (-s train.epochs=40), on another device (-s
    train.device=cpu), or with data that was moved (-s data.path=NEW); the run records it. What
    past training steps depend on cannot be changed, nor can the data.
    """
    from vaezoo.utils.allocator import tune_allocator

    tune_allocator()
    from vaezoo.cli.progress import training_progress
    from vaezoo.runs.start import resume

    with training_progress(ctx) as callbacks:
        finished = resume(path, overrides, callbacks=callbacks, print_line=line_printer(ctx))
    _print_results(ctx, finished, as_json)
