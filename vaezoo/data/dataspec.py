"""Describes examples: their shape, the values they take, and their conditions."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import ClassVar, Literal, TypeAlias

import torch
from torch import Tensor

Shape: TypeAlias = tuple[int, ...]

_STRICT = {"extra": "forbid"}
"""Read from a file, an unknown key is an error: dropping it would drop a property of the data."""


@dataclass(frozen=True)
class Field:
    """One named column of a vector condition, or one ground-truth factor of the data.

    Attributes:
        name: the name that users write.
        categories: for a categorical column, the names of its values; the column then holds their
            indices. Empty for a column of numbers.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = _STRICT

    name: str
    categories: tuple[str, ...] = ()


@dataclass(frozen=True)
class DataSpec:
    """Describes one example of a data set, after ``Split.transform``.

    Attributes:
        shape: the shape of ``x``: ``(D,)`` for a vector, ``(C, H, W)`` for an image, ``(T, D)``
            for a sequence of T vectors.
        support: the values of ``x``: ``binary`` (0 or 1), ``unit`` (any number from 0 to 1),
            ``real`` (any number), or ``one-hot`` (a single 1 along the last dimension, otherwise
            0).
        levels: for discrete ``x``, the number of equally spaced values in [0, 1], such as 256 for
            8-bit images and 2 for binary data; 0 if ``x`` is continuous.
        mask_dims: the number of leading dimensions of ``shape`` that the mask covers, such as 1
            for a mask over the steps of a sequence; 0 if there is no mask.
        classes: the names of the classes if the condition is a class label, in the order of the
            labels; otherwise empty.
        condition_shape: the shape of one example's condition: ``()`` for a class label, ``(A,)``
            for a vector, ``(C, H, W)`` for an image; None if the data has no conditions.
        condition_fields: the names and categories of the columns of a vector condition; empty if
            they have no names.
        factors: the ground-truth factors that the examples were generated from, such as position
            and scale; empty if they are not known. ``Split.factors`` holds their values.
        variable_length: whether examples are sequences of different lengths. ``shape[0]`` is then
            the greatest length, and a batch is only as long as its longest sequence.
        symbols: for one-hot sequences, the symbol of each index of the last dimension. Text
            includes ``<eos>`` (end of sequence) and ``<unk>`` (unknown symbol).
        steps_per_beat: for music, the number of steps per quarter note.
        inpainting: whether the condition is the observed part of the image ``x``: the pixels of
            ``x`` and one further channel that is 1 where they are observed.
        offset: for standardised data, the value that was subtracted from each number of the last
            dimension of ``x`` in the source; empty if ``x`` is in the units of the source.
        scale: the value by which each number was divided after ``offset`` was subtracted.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = _STRICT

    shape: Shape
    support: Literal["binary", "unit", "real", "one-hot"] = "real"
    levels: int = 0
    _: KW_ONLY
    mask_dims: int = 0
    classes: tuple[str, ...] = ()
    condition_shape: Shape | None = None
    condition_fields: tuple[Field, ...] = ()
    factors: tuple[Field, ...] = ()
    variable_length: bool = False
    symbols: tuple[str, ...] = ()
    steps_per_beat: int = 4
    inpainting: bool = False
    offset: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()

    @property
    def dimensions(self) -> int:
        """The number of scalars in one example."""
        return int(torch.Size(self.shape).numel())

    def to_source_units(self, x: Tensor) -> Tensor:
        """Converts model output ``[*, D]`` to the units of the source."""
        return x * x.new_tensor(self.scale) + x.new_tensor(self.offset) if self.scale else x

    def from_source_units(self, x: Tensor) -> Tensor:
        """Converts numbers ``[*, D]`` in the units of the source to model input."""
        return (x - x.new_tensor(self.offset)) / x.new_tensor(self.scale) if self.scale else x

    @property
    def is_sequence(self) -> bool:
        """Whether an example is a sequence of vectors ``(T, D)`` with a mask over its steps."""
        return len(self.shape) == 2 and self.mask_dims == 1
