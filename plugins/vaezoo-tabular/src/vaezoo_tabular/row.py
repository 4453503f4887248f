"""The distribution of the rows of a table: its cells one after the other.

Shapes: ``*`` leading dimensions such as ``[K, B]``, S cells of a row, D columns of x, K cases of a
cell, R units.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from vaezoo_tabular.row_cells import RowCells
from vaezoo_tabular.row_parts import Cell


class Row(Distribution):
    """The product of the distributions of the cells of a row, each given those before it.

    Values of cells that are missing are 0 and are left out of log-probabilities.

    Args:
        cells: the distribution of each cell.
        context: what the decoder says of the rows, ``[*, P]``.
        temperature: of each cell given those before it.
    """

    arg_constraints: dict[str, Any] = {}

    def __init__(self, cells: RowCells, context: Tensor, temperature: float = 1.0) -> None:
        self.cells, self.context, self.temperature = cells, context, temperature
        event_shape = torch.Size((cells.dimensions,))
        super().__init__(context.shape[:-1], event_shape, validate_args=False)

    def log_prob(self, x: Tensor) -> Tensor:
        """log p(x|z) of rows ``[*, D]`` in nats, ``[*]``."""
        return self.log_prob_of_cells(x).sum(-1)

    def log_prob_of_cells(self, x: Tensor, known: Tensor | None = None) -> Tensor:
        """log p of each cell given those before it that are known, in the order of x, ``[*, D]``.

        Args:
            x: rows ``[*, D]``.
            known: which cells are known, bool ``[*, D]``; all by default.
        """
        terms: list[Tensor] = [x.new_zeros(())] * self.cells.dimensions
        taught = self.cells.teach(self.context, x, known)
        for place, hidden in zip(self.cells.order, taught, strict=True):
            cell = self.cells.cell(place, hidden, self.temperature)
            log_p, given = cell.log_prob(x[..., place]), self.cells.is_given(place, x)
            terms[place] = log_p if given is None else torch.where(given, log_p, 0.0)
        return torch.stack(torch.broadcast_tensors(*terms), -1)

    def sample(
        self,
        sample_shape: torch.Size | tuple[int, ...] = (),
    ) -> Tensor:
        """Samples, ``[*sample_shape, *, D]``."""
        context = self.context.expand(*sample_shape, *self.context.shape)
        return self._walk(context, lambda place, cell: cell.sample())

    @property
    def mode(self) -> Tensor:
        """The likeliest value of each cell given those before it, ``[*, D]``."""
        return self._walk(self.context, lambda place, cell: cell.mode)

    @property
    def mean(self) -> Tensor:
        """The same as the mode: categories have no mean, ``[*, D]``."""
        return self.mode

    def tempered(self, temperature: float) -> Row:
        """The distribution with each cell at a temperature, given those before it."""
        return Row(self.cells, self.context, self.temperature * temperature)

    def complete(self, x: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        """Samples the cells that are not known, each given those before it.

        Args:
            x: rows ``[*, D]``, of which only known cells count.
            known: whether a column of x is known, bool ``[*, D]``.

        Returns:
            The rows ``[*, D]``, and the log-probability of the known cells, each given those
            before it, in nats ``[*]``: the importance weight of the row.
        """
        log_weight = x.new_zeros(torch.broadcast_shapes(x.shape[:-1], self.batch_shape))

        def choose(place: int, cell: Cell) -> Tensor:
            nonlocal log_weight
            is_known, value = known[..., place], x[..., place]
            counted, given = is_known, self.cells.is_given(place, x)
            if given is not None:
                counted = counted & given
            log_weight = log_weight + torch.where(counted, cell.log_prob(value), 0.0)
            return torch.where(is_known, value, cell.sample())

        rows = self._walk(self.context, choose)
        return rows, log_weight

    def _walk(self, context: Tensor, choose: Callable[[int, Cell], Tensor]) -> Tensor:
        """Rows ``[*, D]`` whose cells are chosen one after the other."""
        columns: list[Tensor] = [context.new_zeros(())] * self.cells.dimensions
        state = context
        for place in self.cells.order:
            cell = self.cells.cell(place, self.cells.hidden(place, state), self.temperature)
            value = choose(place, cell)
            indicator, given = self.cells.indicators.get(place), None
            if indicator is not None:
                given = columns[indicator] < 0.5
                value = torch.where(given, value, 0.0)
            columns[place] = value
            state = self.cells.after(place, state, value, given)
        return torch.stack(torch.broadcast_tensors(*columns), -1)
