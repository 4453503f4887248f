"""How the columns of a table become numbers of ``x``, and back.

Shapes: n rows, W columns of x for one column of the table: its value, and an indicator where cells
may be missing.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

import vaezoo
from vaezoo_tabular.dates import format_dates
from vaezoo_tabular.kinds import Kind, numbers_of

OTHER = "(other)"
"""The category of all values that are grouped because they are rare."""
MODELLED = ("numeric", "integer", "count", "categorical", "boolean", "datetime")
NUMBERS = ("numeric", "integer", "count", "datetime")
_MICROSECOND = 1e-6
_ROUNDING = 1e-6


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of a table, as it is kept with the weights.

    Attributes:
        name: its name.
        kind: what it holds.
        dtype: the type of Arrow in the source, such as ``string`` or ``timestamp[us, tz=UTC]``.
        start: its first column of x; -1 if it is not modelled.
        has_missing: whether cells were missing in training: it then has an indicator.
        categories: the values of a categorical or boolean column, and the only one of a constant.
        date_format: the format of dates in text.
        decimals: the most digits after the decimal sign; -1 if it is not limited.
        step: the smallest difference of whole numbers and of dates (in seconds); 0 of others.
        offset, scale: a number of x is (value - offset) / scale.
        values: numbers that have a probability of their own, in order.
        edges: the edges of the bins of all other numbers of the training rows, in order.
        pieces: the edges of the pieces of all bins, in order, with those of the bins; empty if
            numbers are distributed evenly in each bin.
        shares: the probability of each piece, given its bin; within a piece numbers are
            distributed evenly.
    """

    name: str
    kind: Kind
    dtype: str = "string"
    start: int = -1
    has_missing: bool = False
    categories: tuple[str, ...] = ()
    date_format: str = ""
    decimals: int = -1
    step: float = 0.0
    offset: float = 0.0
    scale: float = 1.0
    values: tuple[float, ...] = ()
    edges: tuple[float, ...] = ()
    pieces: tuple[float, ...] = ()
    shares: tuple[float, ...] = ()

    @property
    def is_modelled(self) -> bool:
        """Whether it is part of x."""
        return self.start >= 0

    @property
    def width(self) -> int:
        """W: the number of columns of x."""
        return (1 + self.has_missing) if self.is_modelled else 0

    @property
    def limits(self) -> tuple[float, float]:
        """The smallest and the greatest number of the training rows."""
        ends = (*self.edges[:1], *(edge - self.step for edge in self.edges[-1:]))
        numbers = (*self.values, *ends)  # whole numbers lie before the end of the last bin
        return min(numbers), max(numbers)

    @property
    def fields(self) -> tuple[vaezoo.Field, ...]:
        """Its fields: of the value, and of the indicator."""
        at = self.start
        kind: Any = {"boolean": "binary"}.get(self.kind, self.kind)
        value = vaezoo.Field(
            self.name,
            kind,
            (at, at + 1),
            categories=self.categories,
            offset=self.offset,
            scale=self.scale,
            unit="s" if self.kind == "datetime" else "",
        )
        if not self.has_missing:
            return (value,)
        names = ("given", "missing")
        indicator = vaezoo.Field(
            f"{self.name} is missing", "binary", (at + 1, at + 2), categories=names
        )
        return value, indicator

    def to_json(self) -> dict[str, Any]:
        """Its attributes that are not those by default."""
        defaults = {field.name: field.default for field in fields(self)}
        given = asdict(self)
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in given.items()
            if value != defaults[name]
        }

    def check(self, width: int) -> None:
        """Raises ValueError if it is modelled and has no case that its cells can be, or no place.

        Args:
            width: the number of columns of x.
        """
        has_names = self.kind in ("categorical", "boolean")
        known = self.categories if has_names else (*self.values, *self.edges[1:])
        if self.is_modelled and not known:
            missing = "categories" if has_names else "values and no bins"
            raise ValueError(f"column {self.name!r} is {self.kind} and has no {missing}")
        if self.start + self.width > width:
            raise ValueError(f"column {self.name!r} lies outside the {width} columns of x")


def to_values(column: Column, cells: pa.Array, decimal: str) -> np.ndarray:
    """The numbers of a column, float64 ``[n]``: values, seconds, or indices of categories.

    NaN where a cell is missing, and -1 for a category that is not known.

    Args:
        column: the column.
        cells: its cells; dates are timestamps.
        decimal: the decimal sign of numbers in text.

    Raises:
        pa.ArrowInvalid: a cell is no number.
    """
    if column.kind in ("categorical", "boolean"):
        texts, known = pc.cast(cells, pa.string()), pa.array(column.categories, pa.string())
        if column.kind == "boolean":  # files write TRUE, True or true
            texts, known = pc.utf8_lower(texts), pc.utf8_lower(known)
        found = pc.index_in(texts, known)
        other = column.categories.index(OTHER) if OTHER in column.categories else -1
        found = pc.if_else(pc.is_valid(texts), pc.fill_null(found, other), None)
        return np.asarray(pc.fill_null(pc.cast(found, pa.float64()), math.nan))
    if column.kind == "datetime":
        times = pc.cast(pc.cast(cells, _timestamp(cells.type)), pa.int64())
        return numbers_of(times, ".") * _MICROSECOND
    return numbers_of(cells, decimal)


def encode(column: Column, values: np.ndarray) -> np.ndarray:
    """The columns of x in the units of the source, float64 ``[n, W]``.

    Args:
        column: the column.
        values: what ``to_values`` returned, ``[n]``.

    Raises:
        ValueError: a cell is missing, but none was in training.
    """
    missing = np.isnan(values)
    if missing.any() and not column.has_missing:
        raise ValueError(
            f"column {column.name!r}, row {int(missing.argmax())}: has no value, but the table of "
            "training has no empty cell in this column"
        )
    given = np.where(missing, column.offset, values)  # 0 when it is standardised
    return np.stack([given, missing] if column.has_missing else [given], 1)


def standardise(x: np.ndarray, column: Column) -> np.ndarray:
    """The columns of x in the range of the model, float32 ``[n, W]``, of those of ``encode``."""
    x[:, 0] -= column.offset
    x[:, 0] /= column.scale
    return x.astype(np.float32)


def decode(column: Column, x: np.ndarray) -> pa.Array:
    """The cells of a column, of its columns of x in the units of the source, ``[n, W]``."""
    missing = x[:, 1] > 0.5 if column.has_missing else np.zeros(len(x), bool)
    if column.categories:
        index = np.clip(np.rint(x[:, 0]), 0, len(column.categories) - 1).astype(np.int64)
        cells = pa.array(column.categories).take(pa.array(index, mask=missing))
        # rare categories that are grouped have a name that is none of other types
        return cells if OTHER in column.categories else pc.cast(cells, arrow_type(column.dtype))
    values = exact_numbers(column, x[:, 0].astype(np.float64))
    if column.kind == "datetime":
        times = np.rint(values / _MICROSECOND).astype(np.int64)
        stamps = pa.array(times, pa.int64(), mask=missing).cast(pa.timestamp("us"))
        return _dates(column, stamps)
    return _numbers(column, values, missing)


def exact_numbers(column: Column, values: np.ndarray) -> np.ndarray:
    """Numbers as the table has them, of those that float32 does not keep to the last digit.

    Numbers with the decimals of the table, as users give them, are kept.
    """
    is_exact = np.zeros(len(values), bool)
    if column.kind != "datetime" and column.decimals >= 0:
        is_exact = np.round(values, column.decimals) == values
    if column.values:
        known = np.array(column.values)
        nearest = known[nearest_index(known, values)]
        is_near = np.abs(nearest - values) < _ROUNDING * column.scale
        values = np.where(is_near & ~is_exact, nearest, values)
    if column.step:
        values = np.rint(values / column.step) * column.step
    if column.kind != "datetime" and column.decimals >= 0:
        values = np.round(values, column.decimals)
    return values


def nearest_index(known: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The place of the number of ``known``, which are in order, that is nearest to each value."""
    if len(known) == 1:
        return np.zeros(len(values), np.int64)
    right = np.searchsorted(known, values).clip(1, len(known) - 1)
    is_left = values - known[right - 1] <= known[right] - values
    return right - is_left


def _numbers(column: Column, values: np.ndarray, missing: np.ndarray) -> pa.Array:
    """Numbers in the type of the source; those of text are int64 or float64."""
    kind = arrow_type(column.dtype)
    if pa.types.is_integer(kind) and column.step:
        limits = np.iinfo(kind.to_pandas_dtype())
        is_inside = (values >= limits.min) & (values <= limits.max)
        kind = kind if is_inside.all() else pa.int64()
    elif not pa.types.is_floating(kind):
        kind = pa.int64() if column.step else pa.float64()
    return pc.cast(pa.array(values, pa.float64(), mask=missing), kind, safe=False)


def _dates(column: Column, stamps: pa.Array) -> pa.Array:
    """Timestamps in the type of the source, or in the format of its text."""
    if column.date_format:
        return format_dates(stamps, column.date_format)
    kind = arrow_type(column.dtype)
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        stamps = pc.cast(stamps, pa.timestamp("us", tz="UTC"))
    return pc.cast(stamps, kind, safe=False)


def _timestamp(kind: pa.DataType) -> pa.DataType:
    """Microseconds, with the time zone of a type."""
    return pa.timestamp("us", getattr(kind, "tz", None))


def arrow_type(name: str) -> pa.DataType:
    """The type of Arrow with a name such as ``int64`` or ``timestamp[us, tz=UTC]``."""
    unit, has_zone, zone = name.removeprefix("timestamp[").removesuffix("]").partition(", tz=")
    return pa.timestamp(unit, zone) if has_zone else pa.type_for_alias(name)
