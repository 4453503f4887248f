"""Squared Euclidean distances between rows, in blocks. Shapes: n, m rows of D features."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

_BLOCK = 500


def distance_blocks(
    points: Tensor, others: Tensor, dtype: torch.dtype = torch.double
) -> Iterator[tuple[slice, Tensor]]:
    """The squared distances of some rows of ``points`` to all of ``others``, block by block.

    Rows are centred before they are multiplied, because ``|a|^2 + |b|^2 - 2 a . b`` cancels.

    Args:
        points: ``[n, D]``.
        others: ``[m, D]``.
        dtype: of the distances.

    Yields:
        The rows, and the distances ``[b, m]`` of a block of b rows.
    """
    centre = others.double().mean(0)
    points, others = ((x - centre).to(dtype) for x in (points, others))
    norms = others.square().sum(1)  # [m]
    for start in range(0, len(points), _BLOCK):
        part = points[start : start + _BLOCK]
        squares = torch.addmm(part.square().sum(1, keepdim=True) + norms, part, others.T, alpha=-2)
        yield slice(start, start + len(part)), squares


def radii(points: Tensor, neighbours: int) -> Tensor:
    """The squared distance of each row to its ``neighbours``-th nearest other row, ``[n]``.

    Args:
        points: ``[n, D]``, with more rows than ``neighbours``.
        neighbours: which neighbour; the first is the nearest one.
    """
    return torch.cat(
        [
            # the nearest one is the row itself
            squares.topk(neighbours + 1, 1, largest=False).values[:, -1]
            for _, squares in distance_blocks(points, points)
        ]
    )


def nearest(points: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """The nearest row of ``others`` to each row of ``points``, in single precision.

    Returns:
        Its index int64 ``[n]`` and its squared distance ``[n]``.
    """
    found = [squares.min(1) for _, squares in distance_blocks(points, others, torch.float)]
    return torch.cat([each.indices for each in found]), torch.cat([each.values for each in found])
