"""Describes examples: their shape, the values they take, their columns and their conditions."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, ClassVar, Literal, TypeAlias, get_args

import torch
from torch import Tensor

Shape: TypeAlias = tuple[int, ...]

FieldKind: TypeAlias = Literal[
    "numeric", "integer", "count", "binary", "categorical", "ordinal", "datetime"
]
SUPPORTS = ("binary", "unit", "real", "one-hot", "count", "mixed", "joint")
"""The supports of data that vaezoo names; plugins write ``<plugin>:<word>``."""
_CATEGORICAL = ("binary", "categorical", "ordinal")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_STRICT = {"extra": "forbid"}
"""Read from a file, an unknown key is an error: dropping it would drop a property of the data."""


@dataclass(frozen=True)
class Field:
    """One column of the source: of ``x``, of a vector condition, or a ground-truth factor.

    Attributes:
        name: the name that users write.
        kind: ``numeric``, ``integer``, ``count`` (0, 1, 2, ...), ``binary``, ``categorical``,
            ``ordinal`` (categories in an order) or ``datetime`` (a number in ``unit``).
        columns: where its values are in the last dimension: from the first index up to, but not
            including, the second. Categories take one column, of their indices, or one for each
            category, one-hot.
        categories: the names of the values of a binary, categorical or ordinal field.
        unit: the unit of the source, such as ``kg``.
        offset: for a standardised number, the value that was subtracted in the source.
        scale: the value by which the number was divided after that.

    Raises:
        ValueError: the attributes contradict each other.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = _STRICT

    name: str
    kind: FieldKind
    columns: tuple[int, int]
    _: KW_ONLY
    categories: tuple[str, ...] = ()
    unit: str = ""
    offset: float = 0.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        kinds, (start, stop) = get_args(FieldKind), self.columns
        if self.kind not in kinds:
            raise ValueError(f"field {self.name!r}: kind is one of {', '.join(kinds)}")
        if not 0 <= start < stop:
            raise ValueError(f"field {self.name!r}: columns {self.columns} are no range")
        if self.kind not in _CATEGORICAL and self.categories:
            raise ValueError(f"field {self.name!r}: {self.kind} fields have no categories")
        if self.kind in ("categorical", "ordinal") and not self.categories:
            raise ValueError(f"field {self.name!r}: {self.kind} fields need categories")
        if self.categories and stop - start not in (1, len(self.categories)):
            raise ValueError(
                f"field {self.name!r}: {len(self.categories)} categories take 1 column, or one "
                f"each, not {stop - start}"
            )
        if not (math.isfinite(self.offset) and math.isfinite(self.scale) and self.scale):
            raise ValueError(f"field {self.name!r}: offset and scale are finite, scale is not 0")

    @property
    def is_one_hot(self) -> bool:
        """Whether each category has a column of its own."""
        return self.columns[1] - self.columns[0] > 1 and bool(self.categories)


@dataclass(frozen=True)
class DataSpec:
    """Describes one example of a data set, after ``Split.transform``.

    Attributes:
        shape: the shape of ``x``: ``(D,)`` for a vector, ``(C, H, W)`` for an image, ``(T, D)``
            for a sequence of T vectors; ``()`` for data of several parts.
        support: the values of ``x``: ``binary`` (0 or 1), ``unit`` (any number from 0 to 1),
            ``real`` (any number), ``one-hot`` (a single 1 along the last dimension, otherwise 0),
            ``count`` (0, 1, 2, ...), ``mixed`` (each column as its field says), ``joint`` (several
            parts); or a plugin's own, ``<plugin>:<word>``.
        levels: for discrete ``x``, the number of equally spaced values in [0, 1], such as 256 for
            8-bit images and 2 for binary data; 0 if ``x`` is continuous.
        pixels: whether integers in the source are pixels from 0 to 255, which are divided by 255.
        mask_dims: the number of leading dimensions of ``shape`` that the mask covers, such as 1
            for a mask over the steps of a sequence; 0 if there is no mask.
        classes: the names of the classes if the condition is a class label, in the order of the
            labels; otherwise empty.
        condition_shape: the shape of one example's condition: ``()`` for a class label, ``(A,)``
            for a vector, ``(C, H, W)`` for an image; None if the data has no conditions.
        condition_fields: the columns of a vector condition; empty if they have no names.
        factors: the ground-truth factors that the examples were generated from, such as position
            and scale; empty if they are not known. ``Split.factors`` holds their values.
        variable_length: whether examples are sequences of different lengths. ``shape[0]`` is then
            the greatest length, and a batch is only as long as its longest sequence.
        fields: the columns of the last dimension of ``x``; empty if they have no names. One-hot
            sequences of symbols have one categorical field.
        extras: the shape of what comes with each example beside ``x``, by name, such as a weight
            or a size factor. ``Batch.extras`` holds the values.
        parts: the parts of an example (modalities), by name, such as an image and a caption; each
            has a shape, a support and fields of its own. Empty if ``x`` is one tensor.
        facts: what plugins know of the data, as JSON values under the names of the plugins.
        step: what the steps of a sequence are, such as times: its name, its unit, and as its
            scale the distance of two steps; None if that is not known.

    Raises:
        ValueError: the attributes contradict each other.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = _STRICT

    shape: Shape
    support: str = "real"
    levels: int = 0
    _: KW_ONLY
    pixels: bool = False
    mask_dims: int = 0
    classes: tuple[str, ...] = ()
    condition_shape: Shape | None = None
    condition_fields: tuple[Field, ...] = ()
    factors: tuple[Field, ...] = ()
    variable_length: bool = False
    fields: tuple[Field, ...] = ()
    extras: Mapping[str, Shape] = field(default_factory=dict)
    parts: Mapping[str, DataSpec] = field(default_factory=dict)
    facts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    step: Field | None = None

    def __post_init__(self) -> None:
        if self.support not in SUPPORTS and not re.fullmatch(r"[^:\s]+:[^:\s]+", self.support):
            raise ValueError(
                f"unknown support {self.support!r}; use one of {', '.join(SUPPORTS)}, or "
                "plugin:word"
            )
        for name in (*self.extras, *self.parts):
            if not _NAME.fullmatch(name):
                raise ValueError(f"{name!r} is no name: use letters, digits, '-' and '_'")
        self._check_sizes()
        _check_fields(self.fields, self.shape[-1] if self.shape else 0)
        _check_fields(self.condition_fields, (self.condition_shape or (0,))[-1])
        _check_fields(self.factors, len(self.factors))
        if bool(self.parts) != (self.support == "joint") or (self.parts and self.shape):
            raise ValueError("data of several parts has the shape () and the support joint")
        for name, part in self.parts.items():
            if hasattr(torch.nn.ModuleDict, name) or name == "training":
                raise ValueError(f"{name!r} cannot name a part: torch's modules use it; rename it")
            own = (part.parts, part.extras, part.factors, part.variable_length)
            if any(own) or part.condition_shape is not None:
                raise ValueError(
                    f"part {name!r} has parts, extras, factors, conditions or a variable length"
                )

    def _check_sizes(self) -> None:
        """Raises ValueError if a shape has an empty dimension, or the mask more than it has."""
        shapes = {
            "shape": self.shape,
            "condition_shape": self.condition_shape or (),
            **self.extras,
        }
        for name, shape in shapes.items():
            if any(size < 1 for size in shape):
                raise ValueError(f"{name} {shape}: each size must be at least 1")
        if not 0 <= self.mask_dims <= len(self.shape):
            raise ValueError(
                f"mask_dims {self.mask_dims}: must be from 0 to {len(self.shape)}, the number of "
                "dimensions of shape"
            )

    @property
    def dimensions(self) -> int:
        """The number of scalars in one example."""
        if self.parts:
            return sum(part.dimensions for part in self.parts.values())
        return int(torch.Size(self.shape).numel())

    @property
    def is_sequence(self) -> bool:
        """Whether an example is a sequence of vectors ``(T, D)`` with a mask over its steps.

        The mask may also cover the cells ``(T, D)`` of sequences of different lengths.
        """
        has_cells = self.mask_dims == 2 and self.variable_length
        return len(self.shape) == 2 and (self.mask_dims == 1 or has_cells)

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols of one-hot data: the categories of its only field; empty without names."""
        is_text = self.support == "one-hot" and len(self.fields) == 1
        return self.fields[0].categories if is_text else ()

    def to_source_units(self, x: Any) -> Any:
        """Converts model output ``[*, D]``, or that of each part, to the units of the source."""
        if self.parts:
            return {name: part.to_source_units(x[name]) for name, part in self.parts.items()}
        offset, scale = self._units(x)
        return x if scale is None else x * scale + offset

    def from_source_units(self, x: Any) -> Any:
        """Converts numbers ``[*, D]``, or those of each part, from the units of the source."""
        if self.parts:
            return {name: part.from_source_units(x[name]) for name, part in self.parts.items()}
        offset, scale = self._units(x)
        return x if scale is None else (x - offset) / scale

    def _units(self, x: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Offset and scale of each column ``[D]``; None if no field is standardised."""
        if all(field.offset == 0 and field.scale == 1 for field in self.fields):
            return None, None
        offset, scale = x.new_zeros(self.shape[-1]), x.new_ones(self.shape[-1])
        for column in self.fields:
            offset[slice(*column.columns)] = column.offset
            scale[slice(*column.columns)] = column.scale
        return offset, scale


def _check_fields(fields: Sequence[Field], width: int) -> None:
    """Raises ValueError if fields lie outside of ``width`` columns, or overlap."""
    end, names = 0, set()
    for column in sorted(fields, key=lambda column: column.columns):
        start, stop = column.columns
        if column.name in names:
            raise ValueError(f"two fields are named {column.name!r}")
        if start < end or stop > width:
            raise ValueError(
                f"field {column.name!r}: its columns {column.columns} overlap with another's, or "
                f"lie outside of the {width} columns"
            )
        end = stop
        names.add(column.name)
