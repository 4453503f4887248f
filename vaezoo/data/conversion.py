"""Turns data that Python gives into arrays.

Shapes: n examples; ``...`` is the shape of one example.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset, TensorDataset

from vaezoo.data.array_examples import Arrays
from vaezoo.data.batch import Batch
from vaezoo.data.mapping import map_tensors
from vaezoo.utils.errors import DataError, UsageError

_CHOICES = (
    "a numpy array, a torch tensor, a pair (x, y) of these, a vaezoo.Batch, a map-style torch "
    "Dataset, or a data frame for the data set 'table'"
)


InMemoryData: TypeAlias = Arrays | torch.utils.data.Dataset
"""Data that Python gave: in arrays, or in a map-style data set that is read lazily."""


def kind_of(data: Any) -> str:
    """What kind of data it is, in words.

    Raises:
        UsageError: it is nothing that can be trained on.
    """
    if isinstance(data, np.ndarray):
        return "numpy array"
    if isinstance(data, Tensor):
        return "torch tensor"
    if isinstance(data, Batch):
        return "vaezoo.Batch"
    if isinstance(data, tuple) and len(data) == 2:
        return "pair (x, y)"
    if _is_frame(data):
        return "data frame"
    if isinstance(data, IterableDataset):
        raise UsageError("data= is an IterableDataset, which has no order; give a map-style one")
    if isinstance(data, torch.utils.data.Dataset):
        return "torch Dataset"
    raise UsageError(f"data= is a {type(data).__name__}, not {_CHOICES}")


def convert(data: Any) -> tuple[str, InMemoryData]:
    """Data as arrays, or as the lazy data set that it is; first its kind in words.

    Raises:
        UsageError: it is nothing that can be trained on.
        DataError: a part of it cannot be converted.
    """
    return kind_of(data), _convert(data)


def _convert(data: Any) -> InMemoryData:
    if isinstance(data, Batch):
        return Arrays(
            x=map_tensors(to_array, data.x),
            condition=None if data.condition is None else to_array(data.condition),
            mask=map_tensors(to_array, data.mask),
            extras=map_tensors(to_array, data.extras),
            present=map_tensors(to_array, data.present or {}),
        )
    if type(data) is TensorDataset and len(data.tensors) <= 2:
        data = data.tensors if len(data.tensors) == 2 else data.tensors[0]
    if isinstance(data, torch.utils.data.Dataset):
        return data
    if _is_frame(data):
        raise UsageError(
            "data= is a data frame; set data: {type: table}, which needs the plugin "
            "vaezoo-tabular (pip install vaezoo-tabular)"
        )
    x, condition = data if isinstance(data, tuple) else (data, None)
    return Arrays(x=to_array(x), condition=None if condition is None else to_array(condition))


def to_array(value: Any) -> np.ndarray:
    """An array of numbers or booleans; bfloat16 becomes float32.

    Raises:
        DataError: the value is none.
    """
    if isinstance(value, np.ma.MaskedArray):
        raise DataError("data: a masked array; give vaezoo.Batch(x, mask=...) instead")
    if isinstance(value, Tensor):
        if value.layout is not torch.strided:
            raise DataError("data: a sparse tensor; give x.to_dense() instead")
        value = value.detach().cpu().resolve_conj().resolve_neg()
        value = (value.float() if value.dtype is torch.bfloat16 else value).numpy()
    if not isinstance(value, np.ndarray | np.number | np.bool_ | bool | int | float):
        raise DataError(f"data: a {type(value).__name__} is no array of numbers")
    return np.asarray(value)


def _is_frame(data: Any) -> bool:
    """Whether it is a data frame of pandas, polars, pyarrow or another library of the kind."""
    return hasattr(data, "__dataframe__") or hasattr(data, "__arrow_c_stream__")
