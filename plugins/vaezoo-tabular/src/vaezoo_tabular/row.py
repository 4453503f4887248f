"""The distribution of the rows of a table: its cells one after the other.

Shapes: ``*`` leading dimensions such as ``[K, B]``, S cells of a row, D columns of x, K cases of a
cell, R units.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution, Normal

from vaezoo.distributions import mode, tempered
from vaezoo_tabular.cases import SPREAD, Cases

if TYPE_CHECKING:
    from vaezoo_tabular.row_cells import RowCells

_ELSEWHERE = 1e-4
"""The probability of a number beyond the known values and bins."""


class Cell(ABC):
    """The distribution of one column of x, with values ``[*]``."""

    @abstractmethod
    def log_prob(self, x: Tensor) -> Tensor:
        """In nats, ``[*]``."""

    @abstractmethod
    def sample(self) -> Tensor:
        """One sample, ``[*]``."""

    @property
    @abstractmethod
    def mode(self) -> Tensor:
        """The likeliest value, ``[*]``."""


class CaseCell(Cell):
    """A categorical distribution over the cases of a column, with a density inside of bins.

    Categories, known values and whole numbers have probabilities. Other numbers have a density on
    the standardised scale, evenly within a bin. Numbers beyond all bins have a small probability
    in all, with a normal density, so that no row of test data is impossible.

    Args:
        cases: those of the column.
        logits: ``[*, K]`` of categories, ``[*, K - 1]`` of numbers.
        temperature: divides the logits.
    """

    def __init__(self, cases: Cases, logits: Tensor, temperature: float) -> None:
        self.cases = cases
        if temperature == 0:
            logits = torch.where(logits == logits.amax(-1, keepdim=True), 0.0, -math.inf)
            temperature = 1.0
        self.log_p = (logits / temperature).log_softmax(-1)

    def log_prob(self, x: Tensor) -> Tensor:
        """In nats, ``[*]``: a log-probability, or within a bin of numbers a log-density."""
        cases, case = self.cases, self.cases(x)
        last = self.log_p.shape[-1] - 1
        shape = torch.broadcast_shapes(case.shape, self.log_p.shape[:-1])
        all_log_p, index = self.log_p.expand(*shape, -1), case.clamp(max=last).expand(shape)
        log_p = all_log_p.gather(-1, index[..., None]).squeeze(-1)
        if cases.categories:
            return log_p
        known, bins = len(cases.values), len(cases.log_width)
        log_p = log_p + math.log1p(-_ELSEWHERE)
        if bins:
            width = cases.log_width[(case - known).clamp(0, bins - 1)]
            log_p = torch.where((case >= known) & (case < known + bins), log_p - width, log_p)
        elsewhere = Normal(0.0, SPREAD).log_prob(x) + math.log(_ELSEWHERE)
        if cases.step:
            elsewhere = elsewhere + math.log(cases.step)
        return torch.where(case == cases.count - 1, elsewhere, log_p)

    def sample(self) -> Tensor:
        """One sample, ``[*]``; never beyond all bins."""
        case = Categorical(logits=self.log_p, validate_args=False).sample()
        return self.cases.draw(case)

    @property
    def mode(self) -> Tensor:
        """The likeliest case: its value, or the middle of the bin, ``[*]``."""
        return self.cases.middle(self.log_p.argmax(-1))


class NestedCell(Cell):
    """A likelihood of vaezoo for one column.

    Args:
        distribution: over values ``[*, 1]``.
        log_unit: the logarithm of the step of whole numbers on the standardised scale: their
            density times the step is taken as a probability; 0 of other numbers.
        temperature: of the distribution.
    """

    def __init__(self, distribution: Distribution, log_unit: float, temperature: float) -> None:
        is_cold = temperature != 1
        self.distribution = tempered(distribution, temperature) if is_cold else distribution
        self.log_unit = log_unit

    def log_prob(self, x: Tensor) -> Tensor:
        """In nats, ``[*]``."""
        return self.distribution.log_prob(x[..., None]) + self.log_unit

    def sample(self) -> Tensor:
        """One sample, ``[*]``."""
        return self.distribution.sample()[..., 0]

    @property
    def mode(self) -> Tensor:
        """The likeliest value, ``[*]``."""
        return mode(self.distribution)[..., 0]


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

    def log_prob_of_cells(self, x: Tensor) -> Tensor:
        """log p of each cell given those before it, in the order of x, ``[*, D]``."""
        terms: list[Tensor] = [x.new_zeros(())] * self.cells.dimensions
        for place, hidden in zip(self.cells.order, self.cells.teach(self.context, x), strict=True):
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
