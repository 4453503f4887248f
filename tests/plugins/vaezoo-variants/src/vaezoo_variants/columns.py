"""A likelihood of rows of a table: numbers, counts and categories, some of which are missing.

Shapes: B examples, D columns of x; a cell takes W of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

import vaezoo
from vaezoo.distributions import mode, tempered
from vaezoo.nn import masked

SUPPORTS = {"numeric": "real", "integer": "real", "datetime": "real", "count": "count"}


class Row(Distribution):
    """Independent distributions of the cells of a row; values have the cells side by side.

    Args:
        cells: each over ``[*, 1, W]``.
    """

    arg_constraints: dict[str, Any] = {}

    def __init__(self, cells: Sequence[Distribution]) -> None:
        super().__init__(validate_args=False)
        self.cells = cells

    @property
    def mean(self) -> Tensor:
        """The means; of categories their probabilities, ``[*, D]``."""
        return self.join(lambda cell: cell.mean)

    @property
    def mode(self) -> Tensor:
        """The most probable values, ``[*, D]``."""
        return self.join(mode)

    def sample(
        self,
        sample_shape: torch.Size = torch.Size(),
    ) -> Tensor:
        """Samples, ``[*sample_shape, *, D]``."""
        return self.join(lambda cell: cell.sample(sample_shape))

    def tempered(self, temperature: float) -> Row:
        """The distribution with each cell at a temperature."""
        return Row([tempered(cell, temperature) for cell in self.cells])

    def join(self, value_of: Callable[[Distribution], Tensor]) -> Tensor:
        """The values ``[*, 1, W]`` of all cells in one vector ``[*, D]``."""
        return torch.cat([value_of(cell) for cell in self.cells], -1).squeeze(-2)


class Columns(vaezoo.Likelihood):
    """A likelihood for each column of a table, given the code (as in HI-VAE, Nazabal et al. 2020).

    Of each row it counts the cells that are observed. Categories take one column of x each.

    Args:
        columns: the likelihoods of some columns, by name.
        numeric, count, categorical: those of all other columns, by their kind.
    """

    supports = frozenset({"mixed"})

    def __init__(
        self,
        wiring: vaezoo.Wiring,
        /,
        *,
        columns: dict[str, vaezoo.Factory[vaezoo.Likelihood]] | None = None,
        numeric: vaezoo.Factory[vaezoo.Likelihood] = "normal",
        count: vaezoo.Factory[vaezoo.Likelihood] = "vaezoo-variants:poisson",
        categorical: vaezoo.Factory[vaezoo.Likelihood] = "categorical",
    ) -> None:
        super().__init__(wiring)
        data, columns = self.data, columns or {}
        fields = sorted(data.fields, key=lambda field: field.columns)
        if len(data.shape) != 1 or sum(width(field) for field in fields) != data.shape[0]:
            raise ValueError("needs rows whose columns all belong to a field")
        if unknown := columns.keys() - {field.name for field in fields}:
            known = ", ".join(field.name for field in fields)
            raise ValueError(f"there is no column {min(unknown)!r}; the columns are {known}")
        by_support = {"real": numeric, "count": count, "one-hot": categorical}
        self.widths, self.cells = [width(field) for field in fields], nn.ModuleList()
        for field in fields:
            cell = describe_cell(data, field)
            make = columns.get(field.name, by_support[cell.support])
            self.cells.append(make(replace(wiring, data=cell)))

    @property
    def parameter_shape(self) -> tuple[int, ...]:
        """``(P,)``: the parameters of all cells in one vector."""
        return (sum(math.prod(cell.parameter_shape) for cell in self.cells),)

    def forward(self, h: Tensor, extras: Mapping[str, Tensor]) -> Row:
        """From ``[*, P]`` to a distribution over rows ``[*, D]``."""
        shapes = [cell.parameter_shape for cell in self.cells]
        blocks = h.split([math.prod(shape) for shape in shapes], -1)
        parts = zip(self.cells, blocks, shapes, strict=True)
        return Row([cell(block.unflatten(-1, shape), extras) for cell, block, shape in parts])

    def typical_extras(self, n: int) -> Mapping[str, Tensor]:
        """Those of all cells."""
        return {name: x for cell in self.cells for name, x in cell.typical_extras(n).items()}

    def log_prob(self, trace: vaezoo.Trace) -> Tensor:
        """The sum over the cells that are observed, in nats, ``[K, B]``."""
        batch, mask = trace.batch, trace.batch.mask
        xs = masked(batch.x, mask)[:, None].split(self.widths, -1)  # [B, 1, W] each
        masks = [None] * len(xs) if mask is None else mask.split(self.widths, -1)
        total = 0.0
        for part, px, x, there in zip(self.cells, trace.px.cells, xs, masks, strict=True):
            there = None if there is None else there.all(-1, keepdim=True)  # [B, 1]
            cell = replace(batch, x=x, mask=there)
            total = total + part.log_prob(replace(trace, px=px, batch=cell))
        return total


def width(field: vaezoo.Field) -> int:
    """W, the number of columns of x that a field takes."""
    return field.columns[1] - field.columns[0]


def describe_cell(data: vaezoo.DataSpec, field: vaezoo.Field) -> vaezoo.DataSpec:
    """One cell: a sequence of a single step, so that its likelihood knows that it may be hidden.

    Raises:
        ValueError: it holds the index of a category.
    """
    support = "one-hot" if field.is_one_hot else SUPPORTS.get(field.kind)
    if support is None:
        raise ValueError(f"column {field.name!r}: its categories need a column of x each")
    size = width(field)
    return vaezoo.DataSpec(
        (1, size),
        support,
        mask_dims=data.mask_dims,
        extras=data.extras,
        fields=(replace(field, columns=(0, size)),),
    )
