"""What ``--condition`` asks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from vaezoo.data.conditions import parse
from vaezoo.utils.errors import UsageError

if TYPE_CHECKING:
    import torch

    from vaezoo.runs.run import Run


condition_option = click.option(
    "--condition",
    metavar="WHAT",
    help="A class such as 9; all; attributes such as color=red,digit=all; or data: those of test examples.",
)


@dataclass(frozen=True)
class Wanted:
    """Conditions for ``count`` examples, to be shown in rows of ``columns``; None asks for no condition."""

    condition: torch.Tensor | None
    count: int
    columns: int


def square(count: int) -> int:
    """Columns that make a sheet about square."""
    return max(1, min(32, round(count**0.5)))


def wanted(run: Run, text: str | None, count: int | None) -> Wanted:
    """The conditions that the user asks for.

    Raises:
        UsageError: they do not fit the model.
    """
    model = run.model
    usual, usual_each = (16, 4) if model.data.is_sequence else (64, 10)  # a picture has room for fewer sequences
    some = count or usual
    if model.conditioner is None:
        if text is not None:
            raise UsageError("this model is not conditional; leave --condition out")
        return Wanted(None, some, square(some))
    if text is None:
        try:
            model.context(None, 1)
        except ValueError as error:
            named = "all" if model.data.condition_fields else "data"
            raise UsageError(f"{error}, such as --condition {(*model.trained_classes, named)[0]}") from None
        return Wanted(None, some, square(some))
    if text == "data":
        batch = run.data("test").first(some)
        return Wanted(batch.condition, len(batch), square(len(batch)))
    conditions, names = parse(model.data, text, model.trained_classes)
    each = some if len(names) == 1 else count or usual_each
    columns = square(each) if len(names) == 1 else each
    return Wanted(conditions.repeat_interleave(each, 0), each * len(names), columns)
