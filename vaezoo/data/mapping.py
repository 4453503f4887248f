"""Applies functions to data that is one tensor, or a mapping with a tensor for each part."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor


def map_tensors(function: Callable[[Tensor], Any], value: Any) -> Any:
    """The result for a tensor, a mapping of the results for a mapping, None for None."""
    if value is None:
        return None
    if isinstance(value, Mapping):
        return {name: function(tensor) for name, tensor in value.items()}
    return function(value)


def first_tensor(value: Any) -> Tensor:
    """The tensor itself, or the first one of a mapping."""
    tensor: Tensor = value if isinstance(value, Tensor) else next(iter(value.values()))
    return tensor


def concatenate(values: Sequence[Any], dim: int = 0) -> Any:
    """Concatenates tensors, or those of each part of mappings with the same names."""
    if isinstance(values[0], Mapping):
        return {name: torch.cat([value[name] for value in values], dim) for name in values[0]}
    return torch.cat(list(values), dim)


def select_rows(value: Any, rows: slice) -> Any:
    """Some rows of a tensor, or of each tensor of a mapping."""
    return map_tensors(lambda tensor: tensor[rows], value)


def repeat_rows(value: Any, count: int) -> Any:
    """Each row of a tensor, or of each tensor of a mapping, repeated ``count`` times."""
    return map_tensors(lambda tensor: tensor.repeat_interleave(count, 0), value)


def unflatten_rows(value: Any, first: int, second: int) -> Any:
    """From ``[first * second, ...]`` to ``[first, second, ...]``, for each tensor of a mapping."""
    return map_tensors(lambda tensor: tensor.unflatten(0, (first, second)), value)
