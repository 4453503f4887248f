"""The encoder of tables."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn

import vaezoo
from vaezoo_tabular.cases import Cases
from vaezoo_tabular.facts import columns_of


class TableEncoder(vaezoo.Encoder):
    """Turns each cell into a vector, and encodes all of them with another encoder.

    The vector of a cell is that of its category, or of its known value or bin plus a multiple of
    the standardised number. Missing cells have a vector of their own.

    Args:
        body: the encoder of the vectors of a row, ``[S · size]``.
        size: the length of the vector of a cell.
        hide: the probability in training that a cell is hidden from the encoder, so that rows can
            be completed from some of their cells.
    """

    def __init__(
        self,
        wiring: vaezoo.EncoderWiring,
        /,
        *,
        body: vaezoo.Factory[vaezoo.Encoder] = "mlp",
        size: Annotated[int, Gt(0)] = 16,
        hide: Annotated[float, Ge(0), Lt(1)] = 0.0,
    ) -> None:
        super().__init__()
        columns = [column for column in columns_of(wiring.data) if column.is_modelled]
        self.hide, self.places = hide, [column.start for column in columns]
        self.has_missing = [column.has_missing for column in columns]
        self.is_number = [not column.categories for column in columns]
        self.cases = nn.ModuleList(Cases(column) for column in columns)
        # the last vector is that of a missing or hidden cell
        counts = [cases.count + 1 for cases in self.cases]
        self.embeddings = nn.ModuleList(nn.Embedding(count, size) for count in counts)
        self.slopes = nn.Parameter(torch.randn(len(columns), size) * 0.1)
        width = len(columns) * size
        self.extra = wiring.in_shape[0] - wiring.data.shape[0]  # a context beside x
        shape = (width + self.extra,)
        self.body = body(replace(wiring, in_shape=shape))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, ...]:
        """From rows ``[B, D]`` to the features of the body."""
        vectors = []
        for i, place in enumerate(self.places):
            value, cases = x[:, place], self.cases[i]
            case, is_hidden = cases(value), torch.zeros_like(value, dtype=torch.bool)
            if mask is not None:
                is_hidden = is_hidden | ~mask[:, place]
            if self.has_missing[i]:
                is_hidden = is_hidden | (x[:, place + 1] > 0.5)
            if self.training and self.hide:
                is_hidden = is_hidden | (torch.rand_like(value) < self.hide)
            case = torch.where(is_hidden, cases.count, case)
            vector = self.embeddings[i](case)
            if self.is_number[i]:
                number = torch.where(is_hidden, 0.0, value).clamp(-10, 10)
                vector = vector + number[:, None] * self.slopes[i]
            vectors.append(vector)
        if self.extra:
            vectors.append(x[:, -self.extra :])
        return self.body(torch.cat(vectors, 1))
