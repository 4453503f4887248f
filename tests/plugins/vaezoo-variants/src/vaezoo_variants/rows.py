"""Rows of a csv file as data: numbers, counts and categories, with a mask over missing cells.

Shapes: n rows, D columns of x, of which a cell takes W.
"""

from __future__ import annotations

import csv
from dataclasses import replace
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from torch import Tensor

import vaezoo

Column = tuple[np.ndarray, vaezoo.Field]
Kinds = dict[str, Literal["numeric", "count", "categorical"]]


class Rows(vaezoo.Dataset):
    """A csv file with names in its first row and an example in each other; cells may be empty.

    Numbers are standardised with the mean and the standard deviation of the observed cells of the
    training split, counts are left as they are, categories are one-hot.

    Args:
        path: the file; a relative path is looked up in the working directory, then in
            ``VAEZOO_DATA``.
        kinds: of some columns, by name; others are numeric if they hold only numbers, else
            categorical.
    """

    def __init__(self, *, path: str, kinds: Kinds | None = None) -> None:
        self.path, self.kinds = path, kinds or {}

    @property
    def spec(self) -> vaezoo.DataSpec:
        """A vector of all columns, with a mask over them."""
        x, _, fields, _ = self.contents
        return vaezoo.DataSpec((x.shape[1],), "mixed", mask_dims=1, fields=fields)

    def split(self, name: str) -> vaezoo.Split:
        """Returns one of the three splits."""
        x, mask, _, rows = self.contents
        return vaezoo.Split(x[rows[name]], None, mask[rows[name]])

    @cached_property
    def contents(self) -> tuple[Tensor, Tensor, tuple[vaezoo.Field, ...], dict[str, np.ndarray]]:
        """``x`` and mask ``[n, D]``, the fields, and the rows of each split."""
        with open(vaezoo.find_data(self.path), newline="", encoding="utf-8") as file:
            header, *rows = [[cell.strip() for cell in row] for row in csv.reader(file)] or [[]]
        for line, row in enumerate(rows, 2):
            if len(row) != len(header):
                raise vaezoo.DataError(f"{self.path}: row {line} has not {len(header)} cells")
        if unknown := self.kinds.keys() - {*header}:
            raise vaezoo.DataError(f"{self.path}: there is no column {min(unknown)!r}")
        splits = vaezoo.split_indices(len(rows), (0.8, 0.1, 0.1), 0, self.path)
        blocks, masks, fields = [], [], []
        for name, cells in zip(header, np.array(rows).T, strict=True):
            block, field = self.column(name, cells, splits["train"])
            start = fields[-1].columns[1] if fields else 0
            fields.append(replace(field, columns=(start, start + block.shape[1])))
            masks.append(np.broadcast_to(cells[:, None] != "", block.shape))
            blocks.append(np.where(masks[-1], block, 0))
        x = torch.from_numpy(np.concatenate(blocks, 1).astype(np.float32))
        return x, torch.from_numpy(np.concatenate(masks, 1)), tuple(fields), splits

    def column(self, name: str, cells: np.ndarray, train: np.ndarray) -> Column:
        """The values ``[n, W]`` of the cells ``[n]`` of a column, and its description."""
        values, observed = np.array([number(cell) for cell in cells]), cells != ""
        kind = self.kinds.get(name, "categorical" if np.isnan(values).any() else "numeric")
        known, place = values[train][observed[train]], f"{self.path}: column {name!r}"
        if not len(known) or len(names := np.unique(cells[observed])) < 2:
            raise vaezoo.DataError(f"{place} has too few values; remove it")
        if kind == "categorical":
            field = vaezoo.Field(name, kind, (0, len(names)), categories=tuple(names.tolist()))
            return cells[:, None] == names, field
        is_count = (values >= 0) & (values == np.floor(values))
        is_bad = ~np.isfinite(values) | ((kind == "count") & ~is_count)
        if is_bad.any():
            row = int(is_bad.argmax())
            raise vaezoo.DataError(f"{place}, row {row + 2}: {str(cells[row])!r} is no {kind}")
        offset, scale = (known.mean(), known.std() or 1) if kind == "numeric" else (0, 1)
        field = vaezoo.Field(name, kind, (0, 1), offset=float(offset), scale=float(scale))
        return (values[:, None] - offset) / scale, field


def number(cell: str) -> float:
    """The number in a cell, 0 in an empty one, NaN for other text."""
    try:
        return float(cell or 0)
    except ValueError:
        return np.nan
