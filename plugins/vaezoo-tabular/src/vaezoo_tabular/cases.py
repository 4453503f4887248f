"""The finite cases of a column: its categories, or the values and bins of its numbers.

Shapes: ``*`` any leading dimensions, K cases, D columns of x.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from vaezoo_tabular.columns import Column

_TOLERANCE = 1e-5
"""The distance, in standard deviations, within which a number is one of the known values."""


class Cases(nn.Module):
    """Finds the case of each value of a column of x.

    The cases of categories are these. Those of numbers are the known values, the bins, and last
    all other numbers.

    Args:
        column: the column.
    """

    values: Tensor
    edges: Tensor
    log_width: Tensor

    def __init__(self, column: Column) -> None:
        super().__init__()
        values = [(value - column.offset) / column.scale for value in column.values]
        edges = [(edge - column.offset) / column.scale for edge in column.edges]
        self.categories, self.step = len(column.categories), column.step / column.scale
        self.register_buffer("values", torch.tensor(values), persistent=False)
        self.register_buffer("edges", torch.tensor(edges), persistent=False)
        self.register_buffer("log_width", torch.tensor(_log_widths(column)), persistent=False)

    @property
    def count(self) -> int:
        """K, the number of cases."""
        return self.categories or len(self.values) + max(len(self.edges) - 1, 0) + 1

    def forward(self, x: Tensor) -> Tensor:
        """The index of the case of each value ``[*]``, int64 from 0 to K - 1."""
        x = x.contiguous()  # which is faster below
        if self.categories:
            return x.round().long().clamp(0, self.categories - 1)
        case = torch.full_like(x, self.count - 1, dtype=torch.long)
        if len(self.edges):
            bins = len(self.edges) - 1
            place = torch.bucketize(x, self.edges, right=True) - 1
            place = torch.where(x == self.edges[-1], bins - 1, place)  # the last has both edges
            case = torch.where((place >= 0) & (place < bins), len(self.values) + place, case)
        if len(self.values):
            right = torch.bucketize(x, self.values).clamp(max=len(self.values) - 1)
            left = (right - 1).clamp(min=0)
            is_left = (x - self.values[left]).abs() < (x - self.values[right]).abs()
            nearest = torch.where(is_left, left, right)
            near = max(_TOLERANCE, self.step / 2.5)
            case = torch.where((x - self.values[nearest]).abs() <= near, nearest, case)
        return case

    def draw(self, case: Tensor) -> Tensor:
        """A value ``[*]`` of each case: that of the category or the known value, or one of the
        bin, evenly; of the last case a normal one."""
        if self.categories:
            return case.float()
        known, bins = len(self.values), max(len(self.edges) - 1, 0)
        x = torch.randn(case.shape, device=case.device) * SPREAD
        if bins:
            place = (case - known).clamp(0, bins - 1)
            low, high = self.edges[place], self.edges[place + 1]
            inside = low + torch.rand_like(low) * (high - low)
            x = torch.where(case < known + bins, inside, x)
        if known:
            x = torch.where(case < known, self.values[case.clamp(max=known - 1)], x)
        return x

    def middle(self, case: Tensor) -> Tensor:
        """The middle ``[*]`` of each case; of the last one 0, the mean of the training rows."""
        if self.categories:
            return case.float()
        middles = (self.edges[1:] + self.edges[:-1]) / 2
        return torch.cat([self.values, middles, self.values.new_zeros(1)])[case]


SPREAD = 3.0
"""The standard deviation of numbers beyond all known values, in those of the training rows."""


def _log_widths(column: Column) -> list[float]:
    """The logarithm of the width of each bin: in standard deviations, or in steps."""
    unit = column.step or column.scale
    pairs = zip(column.edges[:-1], column.edges[1:], strict=True) if column.edges else ()
    return [
        math.log(max((high - low) / unit, 1.0 if column.step else 1e-12)) for low, high in pairs
    ]
