"""The option ``--condition`` and the conditions that it requests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from vaezoo.data.conditions import parse_columns, parse_conditions
from vaezoo.utils.errors import UsageError

if TYPE_CHECKING:
    import torch

    from vaezoo.data.format import Format
    from vaezoo.model.model import Model
    from vaezoo.runs.run import Run


condition_option = click.option(
    "--condition",
    metavar="CONDITION",
    multiple=True,
    callback=lambda ctx, parameter, values: ",".join(values) or None,
    help="A class such as 9; 'all' for every class; attributes such as color=red,digit=all; "
    "'data' for the conditions of test examples; or values of columns such as town=Ulm,age=30.",
)
_LEAST_SIZE = 2.0
"""The least effective sample size with which samples are chosen from several proposals."""


@dataclass(frozen=True)
class ConditionRequest:
    """The conditions to generate examples for.

    Attributes:
        condition: one condition for each example, ``[count, ...]``; None if unconditional.
        count: the number of examples.
        columns: the number of examples in each row of an image.
    """

    condition: torch.Tensor | None
    count: int
    columns: int


def square_columns(count: int) -> int:
    """The number of columns that makes a sheet of ``count`` examples about square."""
    return max(1, min(32, round(count**0.5)))


def requested_conditions(run: Run, text: str | None, count: int | None) -> ConditionRequest:
    """The conditions that ``--condition`` and ``-n`` request.

    Args:
        run: the run with the model.
        text: the value of ``--condition``; None if it was not used.
        count: the number of examples, or of examples for each condition if ``text`` names
            several; None for the default.

    Raises:
        UsageError: the model does not have such conditions, or needs one.
    """
    model = run.model
    # An image has room for fewer sequences than images.
    default, default_per_condition = (16, 4) if model.data.is_sequence else (64, 10)
    total = count or default
    if model.conditioner is None:
        if text is not None:
            raise UsageError("this model is not conditional; leave --condition out")
        return ConditionRequest(None, total, square_columns(total))
    if text is None:
        try:
            model.context(None, 1)
        except ValueError as error:
            all_or_data = "all" if model.data.condition_fields else "data"
            example = (*model.trained_classes, all_or_data)[0]
            raise UsageError(f"{error}, such as --condition {example}") from None
        return ConditionRequest(None, total, square_columns(total))
    if text == "data":
        batch = run.data("test").first(total)
        return ConditionRequest(batch.condition, len(batch), square_columns(len(batch)))
    conditions, names = parse_conditions(model.data, text, model.trained_classes)
    per_condition = total if len(names) == 1 else count or default_per_condition
    columns = square_columns(per_condition) if len(names) == 1 else per_condition
    # [conditions * per_condition, ...]
    condition = conditions.repeat_interleave(per_condition, 0)
    return ConditionRequest(condition, per_condition * len(names), columns)


def takes_columns(model: Model) -> bool:
    """Whether conditions name columns of rows: of unconditional models that may hide cells."""
    data = model.data
    return (
        model.conditioner is None and bool(data.fields) and data.mask_dims == len(data.shape) == 1
    )


def sample_given(
    model: Model, file_format: Format, text: str, count: int, *, proposals: int, seed: int
) -> tuple[torch.Tensor, float]:
    """Rows in which some columns have given values, and the effective sample size.

    The rows are in the units of the source, float64, with the given values to the last digit: of
    those that the model sees, which are float32, 200 would be 199.99999.

    Args:
        model: the model.
        file_format: a format of its rows, which knows how numbers and dates are written.
        text: the values of columns.
        count: the number of rows.
        proposals: how many proposals each row is chosen from.
        seed: of the draws.

    Raises:
        UsageError: there are no such columns or values, or the model hardly ever makes them.
    """
    import torch

    given, known = parse_columns(model.data, text, file_format.parse_number)
    x = model.data.from_source_units(given).float().expand(count, -1)
    result = model.impute(
        x, known.expand(count, -1), samples=proposals, from_prior=True, seed=seed
    )
    size = float(result.effective_sample_size.mean())
    # it lies between 1 and the number of proposals: of one or two, 2 could not be reached
    if size < min(_LEAST_SIZE, (1 + proposals) / 2):
        note = f"effective sample size {size:.1f} of {proposals} proposals"
        raise UsageError(f"--condition {text}: too improbable: {note}; raise --proposals")
    rows = model.data.to_source_units(result.x[0].cpu().double())
    return torch.where(known, given, rows), size
