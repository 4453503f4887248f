"""Options and steps that several commands share: which model, which split, where the output
goes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vaezoo.cli.bottom_line import working
from vaezoo.cli.weights import registry_option
from vaezoo.utils.errors import Problem, SpecError, UsageError

if TYPE_CHECKING:
    import torch

    from vaezoo.data.format import Format
    from vaezoo.runs.run import Run

FORMAT_HELP = "The file name ending selects the format: .png, .npz, .csv or that of a plugin."

device_option = click.option(
    "--device", default="auto", show_default=True, help="auto, cpu, cuda or mps."
)
sampler_option = click.option(
    "--sampler", metavar="NAME", help="A sampler of the spec, which replaces the prior p(z)."
)
split_option = click.option(
    "--split",
    type=click.Choice(["train", "validation", "test"]),
    default="test",
    show_default=True,
)
data_argument = click.argument(
    "data", default="test", metavar="[SPLIT|FILE|FOLDER]", type=click.Path()
)
"""The examples of a command: train, validation, test or all, or files of the user's own."""


def run_argument(command: Callable[..., Any]) -> Callable[..., Any]:
    """The argument RUN|WEIGHTS: a run's directory or the name of pretrained weights."""
    argument = click.argument("path", type=click.Path(path_type=Path), metavar="RUN|WEIGHTS")
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


def is_run_path(path: Path) -> bool:
    """Whether the argument RUN|WEIGHTS is the directory of a run."""
    return path.exists() or str(path).startswith(("/", ".", "~"))


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
    from vaezoo.runs.example_files import format_for

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
) -> str:
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
        A message with the names of the files.
    """
    from vaezoo.data.batch import Batch
    from vaezoo.runs.example_files import write_example_files

    examples = Batch(x, condition, mask, extras=extras or {})
    paths = write_example_files(file_format, out, examples, columns)
    return f"wrote {out}" if len(paths) == 1 else f"wrote {paths[0]} to {paths[-1].name}"
