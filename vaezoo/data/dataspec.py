"""What components are told, and what they tell: plain facts about data, models and measurements."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor

Shape: TypeAlias = tuple[int, ...]


@dataclass(frozen=True)
class Field:
    """One column of a condition that is a vector, or one factor that an example was made from.

    Attributes:
        name: as users say it.
        categories: the names of its values where it is categorical, the column holding an index; empty for a number.
    """

    name: str
    categories: tuple[str, ...] = ()


@dataclass(frozen=True)
class DataSpec:
    """What one example looks like.

    Attributes:
        shape: of one example: ``(D,)``, ``(C, H, W)`` or ``(T, D)``.
        support: ``binary`` (0 or 1), ``unit`` (0 to 1), ``real``, or ``one-hot`` (one 1 in the last dimension).
        levels: the number of equally spaced values that ``x`` takes in [0, 1]; 0 where it is continuous.
        mask_dims: how many leading dimensions of ``shape`` the mask covers; 0 where there is no mask.
        classes: the names of the classes where the condition is a label.
        condition_shape: of one example's condition; ``()`` for a label; None where there is none.
        attributes: what the columns of the condition are, where it is a vector and they have names.
        factors: what the data were made from, where that is known; see ``Split.factors``.
        steps: what the first of two dimensions of ``shape`` counts: ``fixed``, or ``up-to`` where examples are
            sequences and a batch holds as many steps as its longest needs.
        symbols: what each place of a one-hot vector stands for, with ``<eos>`` and ``<unk>`` among them in text.
        steps_per_beat: how many steps a quarter note has, where examples are music.
        completes: whether the condition is a part of ``x``, with one channel more that is 1 where it is given.
        offset, scale: what was taken from each number of the last dimension, and what it was then divided by.
    """

    shape: Shape
    support: Literal["binary", "unit", "real", "one-hot"] = "real"
    levels: int = 0
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
        """Model output ``[*, D]`` in the units of the source."""
        return x * x.new_tensor(self.scale) + x.new_tensor(self.offset) if self.scale else x

    def from_source_units(self, x: Tensor) -> Tensor:
        """Numbers ``[*, D]`` in the units of the source as the model takes them."""
        return (x - x.new_tensor(self.offset)) / x.new_tensor(self.scale) if self.scale else x

    @property
    def is_sequence(self) -> bool:
        """Whether an example is a sequence of vectors, ``(T, D)``, of which a mask may hide steps."""
        return len(self.shape) == 2 and self.mask_dims == 1
