"""The distributions of single cells of a row.

Shapes: ``*`` leading dimensions such as ``[K, B]``, K cases of a cell.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution, Normal

from vaezoo.distributions import mode, tempered
from vaezoo_tabular.cases import SPREAD, Cases
from vaezoo_tabular.columns import Column

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
    the standardised scale. Numbers beyond all bins have a small probability
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
        known, bins = len(cases.values), max(len(cases.edges) - 1, 0)
        log_p = log_p + math.log1p(-_ELSEWHERE)
        if bins:
            is_inside = (case >= known) & (case < known + bins)
            log_p = torch.where(is_inside, log_p + cases.log_density(x), log_p)
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
        """The likeliest case: its value, or the median of the bin, ``[*]``."""
        return self.cases.middle(self.log_p.argmax(-1))


class NestedCell(Cell):
    """A likelihood of vaezoo for one column.

    Args:
        distribution: over values ``[*, 1]``.
        column: the column. Counts have a distribution over counts, all else one on the
            standardised scale; the density of whole numbers times their step is taken as a
            probability.
        temperature: of the distribution.
    """

    def __init__(self, distribution: Distribution, column: Column, temperature: float) -> None:
        is_cold = temperature != 1
        self.distribution = tempered(distribution, temperature) if is_cold else distribution
        is_count = column.kind == "count"
        self.offset, self.scale = (column.offset, column.scale) if is_count else (0.0, 1.0)
        self.is_count, step = is_count, column.step / column.scale
        self.log_unit = math.log(step) if step and not is_count else 0.0

    def log_prob(self, x: Tensor) -> Tensor:
        """In nats, ``[*]``."""
        value = x * self.scale + self.offset
        value = value.round() if self.is_count else value
        return self.distribution.log_prob(value[..., None]) + self.log_unit

    def sample(self) -> Tensor:
        """One sample, ``[*]``."""
        return (self.distribution.sample()[..., 0] - self.offset) / self.scale

    @property
    def mode(self) -> Tensor:
        """The likeliest value, ``[*]``."""
        return (mode(self.distribution)[..., 0] - self.offset) / self.scale
