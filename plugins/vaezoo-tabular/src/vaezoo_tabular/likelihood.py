"""The likelihood of tables: a distribution for each column."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated

import torch
from annotated_types import Ge, Lt
from torch import Tensor

import vaezoo
from vaezoo_tabular.columns import Column
from vaezoo_tabular.facts import columns_of
from vaezoo_tabular.numbers import TruncatedNormalLikelihood
from vaezoo_tabular.row import Row
from vaezoo_tabular.row_cells import RowCells


class TableLikelihood(vaezoo.Likelihood):
    """A distribution for each column of a row; each cell depends on those before it.

    A column of categories has a probability for each of them. A column of numbers has one for each
    known value and each bin of the training rows, with an even density inside a bin, so that any
    distribution of numbers fits; another likelihood can be given for it. Where cells may be
    missing, it has a probability for that, too, and the value of a missing cell is left out.

    log p(x|z) is in nats per row: the sum of log-probabilities of categories, of known values and
    of whole numbers, and of log-densities of other numbers on the standardised scale. Dates count
    as whole numbers of days, hours, minutes or seconds, where they are.

    Args:
        columns: the likelihoods of some columns of numbers, by name, such as
            ``{type: normal, scale: predicted}``.
        units: the number of units by which cells depend on those before them; 0 for cells that are
            independent of each other, given z.
        dropout: the probability in training that the cells after a cell do not see it, so that
            they depend more on z.
    """

    supports = frozenset({"mixed"})
    draws_samples = True

    def __init__(
        self,
        wiring: vaezoo.Wiring,
        /,
        *,
        columns: dict[str, vaezoo.Factory[vaezoo.Likelihood]] | None = None,
        units: Annotated[int, Ge(0)] = 128,
        dropout: Annotated[float, Ge(0), Lt(1)] = 0.1,
    ) -> None:
        super().__init__(wiring)
        self.columns = [each for each in columns_of(self.data) if each.is_modelled]
        by_name = {column.name: column for column in self.columns}
        likelihoods = {}
        for name, make in (columns or {}).items():
            column = by_name.get(name)
            if column is None or column.categories:
                numbers = ", ".join(each.name for each in self.columns if not each.categories)
                raise ValueError(f"{name!r} is no column of numbers; these are {numbers}")
            likelihoods[name] = make(replace(wiring, data=_describe_cell(column)))
            _check_limits(column, likelihoods[name])
        self.cells = RowCells(self.columns, likelihoods, units=units, dropout=dropout)

    @property
    def parameter_shape(self) -> tuple[int, ...]:
        """``(P,)``: one vector for a row."""
        return (self.cells.parameter_count,)

    def forward(self, h: Tensor, extras: Mapping[str, Tensor]) -> Row:
        """From ``[*, P]`` to a distribution over rows ``[*, D]``."""
        return Row(self.cells, h)

    def log_prob(self, trace: vaezoo.Trace) -> Tensor:
        """log p(x|z) of each row in nats, ``[K, B]``: the sum over the cells that are known."""
        assert isinstance(trace.px, Row)
        mask = trace.batch.mask
        terms = trace.px.log_prob_of_cells(vaezoo.nn.masked(trace.batch.x, mask), mask)
        return (terms if mask is None else vaezoo.nn.masked(terms, mask[None])).sum(-1)

    def complete(self, trace: vaezoo.Trace) -> tuple[Tensor, Tensor]:
        """Draws the cells that are not known, each given those before it."""
        assert isinstance(trace.px, Row)
        x, mask = trace.batch.x.clone(), trace.batch.mask
        known = torch.ones_like(x, dtype=torch.bool) if mask is None else mask.clone()
        for place, indicator in self.cells.indicators.items():
            given = known[:, place] & ~known[:, indicator]  # what is known is not missing
            x[:, indicator] = torch.where(given, 0.0, x[:, indicator])
            known[:, indicator] |= given
        return trace.px.complete(x, known)


def _check_limits(column: Column, likelihood: vaezoo.Likelihood) -> None:
    """Raises ValueError if training rows are beyond the limits of a likelihood."""
    if not isinstance(likelihood, TruncatedNormalLikelihood):
        return
    for value in (*column.values, *column.edges):
        x = (value - column.offset) / column.scale
        # an edge of whole numbers is one step beyond the last
        if not likelihood.low <= x <= likelihood.high + column.step / column.scale:
            raise ValueError(f"column {column.name!r} has {value:g}, beyond low or high")


def _describe_cell(column: Column) -> vaezoo.DataSpec:
    """One cell of a column of numbers as data."""
    (field, *_) = column.fields
    if column.kind == "count":
        field = replace(field, columns=(0, 1), offset=0.0, scale=1.0)
        return vaezoo.DataSpec((1,), "count", fields=(field,))
    return vaezoo.DataSpec((1,), "real", fields=(replace(field, columns=(0, 1)),))
