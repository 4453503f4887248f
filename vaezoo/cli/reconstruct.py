"""The command ``vaezoo reconstruct``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vaezoo.cli.condition_option import condition_option, requested_conditions
from vaezoo.cli.output import json_option, report_files
from vaezoo.cli.shared import (
    FORMAT_HELP,
    data_argument,
    device_option,
    open_examples,
    open_run,
    out_option,
    output_format,
    run_argument,
    save_examples,
)

if TYPE_CHECKING:
    from vaezoo.data.batch import Batch
    from vaezoo.data.format import Format
    from vaezoo.runs.run import Run


@click.command("reconstruct")
@run_argument
@data_argument
@click.option(
    "-n",
    "count",
    type=click.IntRange(1, 100_000),
    help="Number of examples.  [default: 32; 16 for sequences; up to 8 with --condition]",
)
@condition_option
@out_option("reconstructions.png", f"{FORMAT_HELP} An image also shows the originals.")
@device_option
@json_option
@click.pass_context
def reconstruct_command(
    ctx: click.Context,
    *,
    path: Path,
    data: str,
    count: int | None,
    condition: str | None,
    out: Path,
    device: str,
    as_json: bool,
) -> None:
    """Reconstruct examples of a split, a file or a folder.

    The examples are those of a split (train, validation, test, all; by default test), or of your
    own files, which are read as in training. With --condition, they are translated: the z of each
    example is decoded under every requested condition, one row for each example, the original
    first.
    """
    from vaezoo.data.mapping import map_tensors
    from vaezoo.utils.seeds import seeded

    run = open_run(path, device)
    file_format = output_format(run, out)
    conditions = None if condition is None else requested_conditions(run, condition, 1).condition
    is_sequence = run.model.data.is_sequence
    default = 16 if is_sequence else 32
    if conditions is not None:  # each row has the original and one translation for each condition
        default = max(1, min(8, 40 // (1 + len(conditions)))) if is_sequence else 8
    batch = open_examples(ctx, run, data).loader.first(count or default)
    if conditions is None:
        with seeded(run.model.device, 0, "reconstruct"):
            files = _save_reconstructions(run, file_format, out, batch)
    else:
        with seeded(run.model.device, 0, "reconstruct"):
            sheet = run.model.translate(batch, conditions)
        examples = map_tensors(lambda x: x.flatten(0, 1), sheet)  # [B * (1 + conditions), *shape]
        files = save_examples(file_format, out, examples, columns=1 + len(conditions))
    content = {"run": str(path), "data": data, "examples": len(batch)}
    report_files(ctx, files, as_json=as_json, content=content)


def _save_reconstructions(run: Run, file_format: Format, out: Path, batch: Batch) -> list[Path]:
    """Writes reconstructions, in an image together with the originals; returns the files."""
    from vaezoo.runs.report import pictures, sequences
    from vaezoo.runs.report.parts import select_present
    from vaezoo.utils.files import write_bytes

    data = run.model.data
    x = run.model.reconstruct(batch)
    if out.suffix != ".png":
        mask = batch.mask if data.is_sequence else None
        return save_examples(
            file_format,
            out,
            x,
            columns=1,
            condition=batch.condition,
            mask=mask,
            extras=batch.extras,
        )
    # rows of a table stand above their reconstructions
    columns = 1 if len(data.shape) == 1 else min(16, len(batch))
    if data.parts:
        sheet = {
            name: pictures.pairs(*select_present(batch, name, value), columns)
            for name, value in x.items()
        }
        return save_examples(file_format, out, sheet, columns=columns)
    if not data.is_sequence:
        pairs = pictures.pairs(batch.x, x, columns)
        return save_examples(file_format, out, pairs, columns=columns)
    originals = replace(batch, x=data.to_source_units(batch.x))
    write_bytes(out, sequences.picture(data, originals, data.to_source_units(x)))
    return [out]
