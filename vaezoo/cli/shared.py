"""Options and steps that several commands share: which model, which split, where the output
goes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vaezoo.cli.bottom_line import working
from vaezoo.cli.output import line_printer
from vaezoo.cli.registry_option import registry_option
from vaezoo.utils.errors import Problem, SpecError, UsageError, VaezooError
from vaezoo.utils.paths import exists

if TYPE_CHECKING:
    import torch

    from vaezoo.data.format import Format
    from vaezoo.runs.named_examples import NamedExamples
    from vaezoo.runs.run import Run

FORMAT_HELP = "The file name ending selects the format: .png, .npz, .csv or that of a plugin."

device_option = click.option(
    "--device", default="auto", show_default=True, help="auto, cpu, cuda or mps."
)
sampler_option = click.option(
    "--sampler", metavar="NAME", help="A sampler of the spec, which replaces the prior p(z)."
)


def data_argument(command: Callable[..., Any]) -> Callable[..., Any]:
    """The argument [SPLIT|FILE|FOLDER], ``data``: which examples the command reads."""
    argument = click.argument(
        "data", default="test", metavar="[SPLIT|FILE|FOLDER]", type=click.Path()
    )
    former = click.option(
        "--split", expose_value=False, hidden=True, callback=_refuse_former_option
    )
    return argument(former(command))


def _refuse_former_option(ctx: click.Context, option: click.Parameter, value: str | None) -> None:
    """Says what to write in place of the option ``--split`` of earlier versions."""
    if value is not None:
        raise UsageError(
            f"--split {value}: the split is an argument now: vaezoo {ctx.info_name} RUN {value}"
        )


def run_argument(command: Callable[..., Any]) -> Callable[..., Any]:
    """The argument RUN|WEIGHTS: a run as ``find_run`` knows it, or a name of pretrained weights.

    The command gets the directory of the run, as if the user had written that.
    """
    argument = click.argument(
        "path",
        type=click.Path(path_type=Path),
        metavar="RUN|WEIGHTS",
        callback=lambda ctx, option, path: run_or_weights(path),
    )
    return registry_option(argument(command))


def out_option(default: str, help_text: str) -> Callable[[Any], Any]:
    """The option ``--out`` with its default and a help text about the file's format."""
    return click.option(
        "--out",
        type=click.Path(path_type=Path),
        default=default,
        show_default=True,
        help=help_text,
    )


def open_examples(
    ctx: click.Context, run: Run, data: str, *, needs_condition: bool = True
) -> NamedExamples:
    """The examples that the argument [SPLIT|FILE|FOLDER] names; says which files are not read."""
    from vaezoo.runs.named_examples import named_examples

    examples = named_examples(run, data, needs_condition=needs_condition)
    for phrase in examples.left_out:
        line_printer(ctx)(f"left out: {phrase}")
    return examples


def run_or_weights(path: Path) -> Path:
    """The directory of the run that an argument means; the argument itself for a path that is
    there, and for the name of pretrained weights, which goes before the beginning of a path.

    Raises:
        UsageError: several runs begin so.
    """
    from vaezoo.runs.finding import LATEST, find_run, matching_runs, the_only_one

    if is_run_path(path):
        return path if exists(path) else find_run(path)
    if path.name == LATEST:
        return find_run(path)
    matches = matching_runs(path)
    return path if not matches or _is_weights(str(path)) else the_only_one(path, matches)


def _is_weights(name: str) -> bool:
    """Whether pretrained weights have a name."""
    from vaezoo.pretrained.finding import find_entry

    try:
        find_entry(name)
    except VaezooError:
        return False
    return True


def is_run_path(path: Path) -> bool:
    """Whether the argument RUN|WEIGHTS is the directory of a run."""
    return exists(path) or str(path).startswith(("/", ".", "~"))


def open_run(path: Path, device: str) -> Run:
    """Opens the run at a path, or pretrained weights by name; tunes the process's allocator."""
    from vaezoo.utils.allocator import tune_allocator

    tune_allocator()
    from vaezoo.runs import opening

    with working(f"loading {path}"):
        if is_run_path(path):
            return opening.open_run(path, device=device)
        try:
            return opening.open_weights(str(path), device=device)
        except UsageError as error:
            raise UsageError(f"{path}: not a run, and {error}") from None


@contextmanager
def metric_errors() -> Iterator[None]:
    """Within, the errors of specs are in the values of ``--metric``, not in a file."""
    try:
        yield
    except SpecError as error:
        problems = [
            Problem("--metric", 1, 1, path="", message=problem.message)
            for problem in error.problems
        ]
        raise SpecError(problems) from error


def check_sampler(run: Run, name: str) -> None:
    """Raises UsageError if the model of a run has no sampler of a name."""
    try:
        run.model.check_sampler(name)
    except ValueError as error:
        raise UsageError(str(error)) from error


def output_format(run: Run, out: Path) -> Format:
    """The format in which to write ``out``; called before sampling, so that errors come early."""
    from vaezoo.runs.file_formats import format_for

    return format_for(run.model.data, out)


def save_examples(
    file_format: Format,
    out: Path,
    x: Any,
    *,
    columns: int,
    condition: torch.Tensor | None = None,
    mask: torch.Tensor | None = None,
    extras: Mapping[str, torch.Tensor] | None = None,
) -> list[Path]:
    """Writes examples.

    Args:
        file_format: the format of the file.
        out: the file; if it can hold only one example, numbered files are written.
        x: examples ``[n, *shape]``, in the model's data range; a mapping for several parts.
        columns: the number of examples in each row of an image.
        condition: their conditions.
        mask: their masks.
        extras: their extras.

    Returns:
        The files that were written.
    """
    from vaezoo.data.batch import Batch
    from vaezoo.runs.example_files import write_example_files

    examples = Batch(x, condition, mask, extras=extras or {})
    return write_example_files(file_format, out, examples, columns)
