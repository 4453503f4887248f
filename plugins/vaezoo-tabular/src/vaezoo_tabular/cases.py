"""The finite cases of a column: its categories, or the values and bins of its numbers.

Shapes: ``*`` any leading dimensions, K cases, D columns of x.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vaezoo_tabular.columns import Column

_TOLERANCE = 1e-5
"""The distance, in standard deviations, within which a number is one of the known values."""
SPREAD = 3.0
"""The standard deviation of numbers beyond all known values, in those of the training rows."""


class Cases(nn.Module):
    """Finds the case of each value of a column of x.

    The cases of categories are these. Those of numbers are the known values, the bins, and last
    all other numbers. A bin of whole numbers contains those from its first edge up to the next
    bin, without known values.

    Args:
        column: the column.
    """

    values: Tensor
    edges: Tensor
    log_width: Tensor
    sizes: Tensor

    def __init__(self, column: Column) -> None:
        super().__init__()
        values = [(value - column.offset) / column.scale for value in column.values]
        edges = [(edge - column.offset) / column.scale for edge in column.edges]
        self.categories, self.step = len(column.categories), column.step / column.scale
        self.register_buffer("values", torch.tensor(values), persistent=False)
        self.register_buffer("edges", torch.tensor(edges), persistent=False)
        sizes = _sizes(column)
        log_widths = torch.tensor(sizes, dtype=torch.float64).log().float()
        self.register_buffer("sizes", torch.tensor(sizes), persistent=False)
        self.register_buffer("log_width", log_widths, persistent=False)

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
            # between whole numbers, where rounding does not matter
            place = torch.bucketize(x, self.edges - self.step / 2, right=True) - 1
            if not self.step:  # the last bin has both edges
                place = torch.where(x == self.edges[-1], bins - 1, place)
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
            x = torch.where(case < known + bins, self._draw_inside(place), x)
        if known:
            x = torch.where(case < known, self.values[case.clamp(max=known - 1)], x)
        return x

    def _draw_inside(self, place: Tensor) -> Tensor:
        """A value of each bin, evenly, ``[*]``."""
        low, high = self.edges[place], self.edges[place + 1]
        share = torch.rand_like(low)
        if not self.step:
            return low + share * (high - low)
        half, size = self.step / 2, self.sizes[place]
        x = low + (share * size).floor().clamp(max=size - 1) * self.step
        for value in self.values:  # in order; known values are not in the bin
            is_inside = (value > low - half) & (value < high - half)
            x = torch.where(is_inside & (x > value - half), x + self.step, x)
        return x

    def middle(self, case: Tensor) -> Tensor:
        """The middle ``[*]`` of each case; of the last one 0, the mean of the training rows."""
        if self.categories:
            return case.float()
        middles = (self.edges[1:] + self.edges[:-1]) / 2
        if self.step and len(middles):
            low, number = self.edges[:-1], (self.edges[1:] - self.edges[:-1]) / self.step
            middles = low + ((number.round() - 1) / 2).floor() * self.step
        return torch.cat([self.values, middles, self.values.new_zeros(1)])[case]


def _sizes(column: Column) -> list[float]:
    """The size of each bin: how many whole numbers it has, or its width in standard deviations."""
    pairs = list(zip(column.edges[:-1], column.edges[1:], strict=True)) if column.edges else []
    if not column.step:
        return [max((high - low) / column.scale, 1e-12) for low, high in pairs]
    known = [sum(low <= value < high for value in column.values) for low, high in pairs]
    numbers = [round((high - low) / column.step) for low, high in pairs]
    return [float(all_ - few) for all_, few in zip(numbers, known, strict=True)]
