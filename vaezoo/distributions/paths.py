"""Paths between points."""

from __future__ import annotations

import torch
from torch import Tensor


def lerp(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    """Points on the straight line between vectors, ``[*, D]``.

    Args:
        first, second: ``[*, D]``.
        share: the share of the way from ``first`` to ``second``, broadcast to ``[*, 1]``.
    """
    return first * (1 - share) + second * share


def slerp(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    """Points on the great circle between vectors of norm 1 (Shoemake 1985), ``[*, D]``.

    Between equal or opposite vectors it is the straight line, projected to the sphere.

    Args:
        first, second: ``[*, D]``.
        share: the share of the way from ``first`` to ``second``, broadcast to ``[*, 1]``.
    """
    cosine = (first * second).sum(-1, keepdim=True).clamp(-1, 1)
    angle = torch.acos(cosine)
    is_small = angle.sin() < 1e-4
    sine = angle.sin().where(~is_small, 1.0)
    from_first = torch.where(is_small, 1 - share, ((1 - share) * angle).sin() / sine)
    from_second = torch.where(is_small, share, (share * angle).sin() / sine)
    return torch.nn.functional.normalize(from_first * first + from_second * second, dim=-1)
