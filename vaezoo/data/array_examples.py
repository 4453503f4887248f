"""Examples as numpy arrays, and their checks as a whole.

Shapes: n examples; ``...`` is the shape of one example.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from vaezoo.data.array_checks import check_array, check_mask, check_parts, hide_unobserved
from vaezoo.utils.errors import DataError


@dataclass(frozen=True, kw_only=True)
class Arrays:
    """Examples as numpy arrays.

    Attributes:
        x: ``[n, ...]``; for data of several parts, an array for each part by name.
        condition: labels ``[n]`` or other conditions ``[n, ...]``; or None.
        mask: nonzero where ``x`` is observed, over its leading dimensions; or None; for data of
            several parts, a mapping with the masks of those that have one.
        extras: what comes with the examples by name, ``[n, ...]``.
        present: nonzero where an example has a part, ``[n]`` by the name of the part.
        factors: the values of ground-truth factors, ``[n]`` by the name of the factor.
    """

    x: np.ndarray | Mapping[str, np.ndarray]
    condition: np.ndarray | None = None
    mask: np.ndarray | Mapping[str, np.ndarray] | None = None
    extras: Mapping[str, np.ndarray] = field(default_factory=dict)
    present: Mapping[str, np.ndarray] = field(default_factory=dict)
    factors: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def parts(self) -> Mapping[str, np.ndarray]:
        """The arrays of the parts by name; that of data without parts is named ``""``."""
        return self.x if isinstance(self.x, Mapping) else {"": self.x}

    def mask_of(self, part: str) -> np.ndarray | None:
        """The mask of a part, or None."""
        return self.mask.get(part) if isinstance(self.mask, Mapping) else self.mask

    def __len__(self) -> int:
        return len(next(iter(self.parts.values())))


def checked_arrays(arrays: Arrays, source: str) -> Arrays:
    """The arrays with ``x`` 0 where it is not observed, and without booleans beside ``x``.

    Args:
        arrays: the examples.
        source: names them in messages.

    Raises:
        DataError: one is not valid; names the row.
    """
    check_parts(arrays.x, arrays.mask, arrays.present, source)
    n, parts, condition = len(arrays), {}, arrays.condition
    for part, x in arrays.parts.items():
        suffix = f".{part}" if part else ""
        what = f"x{suffix}"
        check_array(x, what, source, rows=n, min_dims=2)
        mask, present = arrays.mask_of(part), arrays.present.get(part)
        if mask is not None:
            name = f"mask{suffix}"
            check_mask(mask, name, source, rows=n)
            x = hide_unobserved(x, mask, what, name, source, min_dims=2)
        if present is not None:
            name = f"present{suffix}"
            check_mask(present, name, source, rows=n)
            if present.ndim != 1:
                raise DataError(f"{source}: {name!r} must have the shape [{n}]")
            x = hide_unobserved(x, present, what, name, source)
        check_array(x, what, source, rows=n, min_dims=2, finite=True)
        parts[part] = x
    if condition is not None:
        check_array(condition, "condition", source, rows=n, finite=True)
        condition = to_numbers(condition)
    for name, extra in arrays.extras.items():
        check_array(extra, f"extras.{name}", source, rows=n, finite=True)
    for name, values in arrays.factors.items():
        check_array(values, f"factors.{name}", source, rows=n)
        if values.ndim != 1:
            raise DataError(f"{source}: 'factors.{name}' must have the shape [{n}]")
    return replace(
        arrays,
        x=parts if isinstance(arrays.x, Mapping) else parts[""],
        condition=condition,
        extras={name: to_numbers(extra) for name, extra in arrays.extras.items()},
    )


def to_numbers(values: np.ndarray) -> np.ndarray:
    """The values, with booleans as the integers 0 and 1."""
    return values.astype(np.uint8) if values.dtype == bool else values


def has_values(arrays: Arrays) -> np.ndarray:
    """Which examples have a value that is observed, bool ``[n]``."""
    has_values = np.zeros(len(arrays), bool)
    for part in arrays.parts:
        in_part = np.ones(len(arrays), bool)
        mask, present = arrays.mask_of(part), arrays.present.get(part)
        if mask is not None:
            in_part &= (mask != 0).reshape(len(mask), -1).any(1)
        if present is not None:
            in_part &= present != 0
        has_values |= in_part
    return has_values
