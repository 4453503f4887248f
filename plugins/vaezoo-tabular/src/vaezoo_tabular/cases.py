"""The finite cases of a column: its categories, or the values and bins of its numbers.

Shapes: ``*`` any leading dimensions, K cases, D columns of x.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from vaezoo_tabular.columns import Column
from vaezoo_tabular.pieces import sizes_of

_TOLERANCE = 1e-5
"""The distance, in standard deviations, within which a number is one of the known values."""
SPREAD = 3.0
"""The standard deviation of numbers beyond all known values, in those of the training rows."""


class Cases(nn.Module):
    """Finds the case of each value of a column of x.

    The cases of categories are these. Those of numbers are the known values, the bins, and last
    all other numbers. A bin of whole numbers contains those from its first edge up to the next
    bin, without known values. Within a bin numbers are distributed as those of the training rows:
    its pieces have fixed probabilities, and are even.

    Args:
        column: the column.
    """

    values: Tensor
    edges: Tensor
    pieces: Tensor
    ends: Tensor
    sizes: Tensor
    log_densities: Tensor

    def __init__(self, column: Column) -> None:
        super().__init__()
        self.categories, self.step = len(column.categories), column.step / column.scale
        pieces, bins = column.pieces or column.edges, max(len(column.edges) - 1, 0)
        sizes = torch.from_numpy(sizes_of(np.array(pieces), np.array(column.values), column.step))
        sizes = sizes.double() if column.step else sizes.double() / column.scale
        shares = torch.tensor(column.shares or [1.0] * len(sizes), dtype=torch.float64)
        index = torch.from_numpy(np.searchsorted(column.edges, pieces[:-1], "right") - 1)
        shares /= shares.new_zeros(bins).index_add(0, index, shares)[index]
        buffers = {
            "values": (torch.tensor(column.values).double() - column.offset) / column.scale,
            "edges": (torch.tensor(column.edges).double() - column.offset) / column.scale,
            "pieces": (torch.tensor(pieces).double() - column.offset) / column.scale,
            "ends": shares.cumsum(0),  # of the share of each piece: whole numbers between bins
            "sizes": sizes,
            "log_densities": shares.log() - sizes.clamp(min=1e-12).log(),
        }
        for name, buffer in buffers.items():
            self.register_buffer(name, buffer.float(), persistent=False)

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

    def log_density(self, x: Tensor) -> Tensor:
        """Of values ``[*]`` within bins: log p(x | bin), in nats; of whole numbers a probability.

        Densities are on the standardised scale.
        """
        place = torch.bucketize(x.contiguous(), self.pieces - self.step / 2, right=True) - 1
        return self.log_densities[place.clamp(0, len(self.sizes) - 1)]

    def draw(self, case: Tensor) -> Tensor:
        """A value ``[*]`` of each case: that of the category or the known value, or a sample from
        the bin; of the last case a normal one."""
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
        """A sample from each bin, ``[*]``."""
        within = torch.rand(place.shape, dtype=torch.float64, device=place.device)
        piece = torch.bucketize(place + within, self.ends.double(), right=True)
        piece = piece.clamp(max=len(self.sizes) - 1)
        low, high = self.pieces[piece], self.pieces[piece + 1]
        share = torch.rand_like(low)
        if not self.step:
            return low + share * (high - low)
        half, size = self.step / 2, self.sizes[piece]
        x = low + (share * size).floor().clamp(max=size - 1) * self.step
        for value in self.values:  # in order; known values are not in the piece
            is_inside = (value > low - half) & (value < high - half)
            x = torch.where(is_inside & (x > value - half), x + self.step, x)
        return x

    def middle(self, case: Tensor) -> Tensor:
        """The median ``[*]`` of each case; of the last one 0, the mean of the training rows."""
        if self.categories:
            return case.float()
        bins = max(len(self.edges) - 1, 0)
        half = torch.arange(bins, device=self.values.device) + 0.5
        piece = torch.bucketize(half, self.ends).clamp(max=max(len(self.sizes) - 1, 0))
        start = torch.cat([self.ends.new_zeros(1), self.ends])[piece]
        fraction = (half - start) / (self.ends[piece] - start)
        low = self.pieces[piece]
        middles = low + fraction * (self.pieces[piece + 1] - low)
        if self.step:
            number = ((self.pieces[piece + 1] - low) / self.step).round()
            middles = low + (fraction * number).floor().clamp(max=number - 1) * self.step
        return torch.cat([self.values, middles, self.values.new_zeros(1)])[case]
