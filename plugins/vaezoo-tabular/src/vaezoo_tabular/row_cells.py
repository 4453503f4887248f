"""The networks from which the distribution of each cell of a row is computed.

Shapes: ``*`` leading dimensions such as ``[K, B]``, S cells of a row, D columns of x, P parameters
of all cells, R units.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

import vaezoo
from vaezoo_tabular.cases import Cases
from vaezoo_tabular.columns import Column
from vaezoo_tabular.row_parts import CaseCell, Cell, NestedCell

_INDICATOR = Column(name="missing", kind="boolean", categories=("given", "missing"))


class RowCells(nn.Module):
    """Computes the distribution of each cell from what the decoder says of the row.

    Without units, the decoder gives the parameters of all cells, which are independent of each
    other. With units, it gives R numbers, to which each cell adds those of its case and, if it is
    a number, a multiple of it, so that the cells after it depend on it: the parameters of a cell
    are linear in the rectified sum of the decoder's numbers and those of all cells before it
    (NADE, Larochelle & Murray 2011).

    Args:
        columns: the modelled columns of the table, in their order.
        likelihoods: those of some columns, by name; others have cases.
        units: R; 0 for independent cells.
        dropout: the probability in training that cells after a cell do not see it.
    """

    def __init__(
        self,
        columns: Sequence[Column],
        likelihoods: Mapping[str, vaezoo.Likelihood],
        *,
        units: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.units, self.dropout = units, dropout
        self.dimensions = sum(column.width for column in columns)
        self.order: list[int] = []
        self.indicators: dict[int, int] = {}
        self.nested: dict[int, Column] = {}
        self.cases, self.likelihoods = nn.ModuleList(), nn.ModuleDict()
        for column in columns:
            place = column.start
            self.cases.append(Cases(column))
            if column.has_missing:
                self.indicators[place] = place + 1
                self.cases.append(Cases(_INDICATOR))
                self.order.append(place + 1)
            self.order.append(place)
            if column.name in likelihoods:
                self.likelihoods[str(place)] = likelihoods[column.name]
                self.nested[place] = column
        self.sizes = [self._size(place) for place in range(self.dimensions)]
        if units:
            counts = [cases.count for cases in self.cases]
            self.embeddings = nn.ModuleList(nn.Embedding(count, units) for count in counts)
            self.out = nn.ModuleList(nn.Linear(units, size) for size in self.sizes)
            self.slopes = nn.Parameter(torch.zeros(len(counts), units))
            for embedding in self.embeddings:
                nn.init.normal_(embedding.weight, std=0.05)

    @property
    def parameter_count(self) -> int:
        """P: the number of parameters that the decoder gives for a row."""
        return self.units or sum(self.sizes)

    def _size(self, place: int) -> int:
        """The number of parameters of a cell."""
        if str(place) in self.likelihoods:
            return math.prod(self.likelihoods[str(place)].parameter_shape)
        cases = self.cases[place]
        return cases.count if cases.categories else cases.count - 1

    def is_given(self, place: int, x: Tensor) -> Tensor | None:
        """Whether rows ``[*, D]`` have a value in a column, bool ``[*]``; None if all have."""
        indicator = self.indicators.get(place)
        return None if indicator is None else x[..., indicator] < 0.5

    def teach(self, context: Tensor, x: Tensor, known: Tensor | None = None) -> list[Tensor]:
        """What each cell is computed from, given the true cells before it.

        Args:
            context: what the decoder says, ``[*, P]``.
            x: rows ``[*, D]``.
            known: which cells are known, bool ``[*, D]``; cells do not depend on others.

        Returns:
            ``[*, R]`` each, or without units its parameters; in ``order``.
        """
        if not self.units:
            blocks = context.split(self.sizes, -1)
            return [blocks[place] for place in self.order]
        parts = [
            self._contribution(place, x[..., place], self.is_given(place, x))
            for place in self.order
        ]
        contributions = torch.stack(parts, -2)  # [*, S, R]
        if known is not None:
            contributions = contributions * known[..., self.order, None]
        if self.training and self.dropout:
            seen = torch.rand(contributions.shape[:-1], device=x.device) >= self.dropout
            contributions = contributions * seen[..., None]
        before = contributions.cumsum(-2) - contributions
        return list((context[..., None, :] + before).relu().unbind(-2))

    def hidden(self, place: int, state: Tensor) -> Tensor:
        """What a cell is computed from, given the cells so far that are in the state."""
        if self.units:
            return state.relu()
        start = sum(self.sizes[:place])
        return state[..., start : start + self.sizes[place]]

    def after(self, place: int, state: Tensor, value: Tensor, given: Tensor | None) -> Tensor:
        """The state ``[*, P]`` after a cell has got its value ``[*]``."""
        return state + self._contribution(place, value, given) if self.units else state

    def _contribution(self, place: int, value: Tensor, given: Tensor | None) -> Tensor:
        """What a cell adds to the numbers of the cells after it, ``[*, R]``; 0 of missing ones."""
        contribution = self.embeddings[place](self.cases[place](value))
        if not self.cases[place].categories:
            contribution = contribution + value.clamp(-10, 10)[..., None] * self.slopes[place]
        return contribution if given is None else contribution * given[..., None]

    def cell(self, place: int, hidden: Tensor, temperature: float) -> Cell:
        """The distribution of a cell."""
        parameters = self.out[place](hidden) if self.units else hidden
        if str(place) not in self.likelihoods:
            return CaseCell(self.cases[place], parameters, temperature)
        likelihood = self.likelihoods[str(place)]
        px = likelihood(parameters.unflatten(-1, likelihood.parameter_shape), {})
        return NestedCell(px, self.nested[place], temperature)
