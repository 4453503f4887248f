"""Turns data that Python gives into arrays or a table.

Shapes: n examples; ``...`` is the shape of one example.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset, TensorDataset

from vaezoo.data.array_examples import Arrays
from vaezoo.data.batch import Batch
from vaezoo.data.csv_file import Row
from vaezoo.data.mapping import map_tensors
from vaezoo.utils.errors import DataError, UsageError

_CHOICES = (
    "a numpy array, a torch tensor, a pair (x, y) of these, a vaezoo.Batch, a data frame, or a "
    "map-style torch Dataset"
)


@dataclass(frozen=True)
class Table:
    """A data frame as text.

    Attributes:
        names: of the columns.
        rows: with the place of each, counted from 0.
    """

    names: list[str]
    rows: list[Row]


InMemoryData: TypeAlias = Arrays | Table | torch.utils.data.Dataset
"""Data that Python gave: in arrays, in a table, or in a map-style data set that is read lazily."""


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
    """Data as arrays, as a table, or as the lazy data set that it is; first its kind in words.

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
        return _table(data)
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
    """Whether it is a data frame of pandas or polars, neither of which vaezoo needs."""
    return hasattr(data, "columns") and (hasattr(data, "itertuples") or hasattr(data, "iter_rows"))


def _table(frame: Any) -> Table:
    """The cells of a data frame as the text that a csv file would have."""
    if hasattr(frame, "itertuples"):
        rows = frame.itertuples(index=False, name=None)
    else:
        rows = frame.iter_rows()
    cells = [(place, [_cell(value) for value in row]) for place, row in enumerate(rows)]
    if not cells:
        raise DataError("data frame: has no rows")
    return Table([str(name) for name in frame.columns], cells)


def _cell(value: Any) -> str:
    """A value as text; a missing one is empty."""
    text = "" if value is None else str(value)
    return "" if text in ("<NA>", "NaT") else text
