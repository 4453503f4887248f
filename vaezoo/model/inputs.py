"""Converts examples that users pass in to the input of a model.

Shapes: B examples, ``*shape`` the shape of one example.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from vaezoo.data.batch import Batch
from vaezoo.data.dataspec import DataSpec
from vaezoo.data.mapping import map_tensors
from vaezoo.data.supports import BOUNDED, describe_support, first_invalid_row
from vaezoo.model.parts import Likelihood
from vaezoo.nn import masked
from vaezoo.utils.errors import DataError, UsageError
from vaezoo.utils.finite import first_fault

Examples: TypeAlias = Tensor | np.ndarray | Mapping[str, Tensor | np.ndarray]
"""Examples ``[B, *shape]``; for data of several parts, those of each part by name."""


def to_input(data: DataSpec, x: Examples, device: torch.device) -> Any:
    """Examples as float tensors on a device, in the range of the data.

    Integers are pixels and divided by 255 where the source has pixels (``DataSpec.pixels``);
    booleans and all other numbers stay as they are. What else is in the batch has no influence.

    Args:
        data: describes the data of the model.
        x: ``[B, *shape]``; sequences of variable length may have any number of steps.
        device: the device of the result.

    Raises:
        ValueError: the shape or the parts of an example are not those of the data, or an integer
            is out of its range.
    """
    if not data.parts:
        if isinstance(x, Mapping):
            raise ValueError("expected one tensor: the data of this model has no parts")
        return _to_input(data, x, device, "")
    if not isinstance(x, Mapping) or x.keys() != data.parts.keys():
        names = ", ".join(data.parts)
        raise ValueError(f"expected a mapping with the parts {names} of each example")
    return {
        name: _to_input(part, x[name], device, f"part {name!r}: ")
        for name, part in data.parts.items()
    }


def _to_input(
    data: DataSpec, x: Tensor | np.ndarray | Any, device: torch.device, prefix: str
) -> Tensor:
    """``to_input`` for one tensor; ``prefix`` begins messages."""
    tensor = torch.as_tensor(x, device=device)
    is_integer = not tensor.is_floating_point() and tensor.dtype != torch.bool
    tensor = tensor.float()  # first, because torch has no minimum of uint16
    if is_integer and (data.pixels or data.support in BOUNDED) and tensor.numel():
        greatest, low, high = 255 if data.pixels else 1, int(tensor.min()), int(tensor.max())
        if low < 0 or high > greatest:
            raise ValueError(
                f"{prefix}expected integers from 0 to {greatest}, got {low} to {high}; pass other "
                "numbers as floats in the range of the data"
            )
        tensor = tensor / greatest
    shape, expected = tuple(tensor.shape[1:]), data.shape
    if data.variable_length:  # any number of steps
        shape, expected = shape[1:], expected[1:]
    if shape != expected:
        got, skipped = str(tuple(tensor.shape[1:])), int(data.variable_length)
        if tensor.dim() == len(data.shape) and tuple(tensor.shape[skipped:]) == expected:
            got = "one example; add a first dimension: x[None]"
        raise ValueError(f"{prefix}expected examples of shape {data.shape}, got {got}")
    return tensor


def to_batch(
    data: DataSpec,
    x: Examples | Batch,
    condition: Any,
    mask: Any,
    device: torch.device,
) -> Batch:
    """Examples with their conditions and masks as a batch on a device.

    Args:
        data: describes the data of the model.
        x: examples in any form that ``to_input`` accepts; or a batch of them, with all that
            belongs to them.
        condition, mask: as in ``Batch``; None if ``x`` is a batch.
        device: the device of the result.

    Raises:
        ValueError: ``x`` is a batch, but there are a condition or a mask beside it; what belongs
            to the examples has other names or lengths than the data; or as for ``to_input``.
    """
    if isinstance(x, Batch) and not (condition is None and mask is None):
        raise ValueError("a batch has its own condition and mask; leave the others out")
    examples = _add_missing_parts(data, x if isinstance(x, Batch) else Batch(x, condition, mask))

    def move(value: Any) -> Any:
        return map_tensors(lambda tensor: torch.as_tensor(tensor, device=device), value)

    def to_bool(value: Any) -> Any:
        return map_tensors(lambda tensor: tensor != 0, move(value))

    batch = Batch(
        to_input(data, examples.x, device),
        move(examples.condition),
        to_bool(examples.mask),
        index=move(examples.index),
        present=to_bool(examples.present),
    )
    _check_parts(data, batch)
    return replace(batch, extras=to_extras(data, examples.extras, len(batch), device))


def _add_missing_parts(data: DataSpec, batch: Batch) -> Batch:
    """The batch with the parts that it has no data of, as missing ones.

    Raises:
        ValueError: it has none of the parts, or others.
    """
    if not (data.parts and isinstance(batch.x, Mapping)):
        return batch
    if not batch.x or batch.x.keys() - data.parts.keys():
        names = ", ".join(batch.x) or "none"
        raise ValueError(f"expected some of the parts {', '.join(data.parts)}, got {names}")
    n, x, present = len(batch), dict(batch.x), dict(batch.present or {})
    for name in data.parts.keys() - batch.x.keys():
        x[name] = torch.zeros(n, *data.parts[name].shape)
        present[name] = torch.zeros(n, dtype=torch.bool)
    return replace(batch, x=x, present=present or None)


def _check_parts(data: DataSpec, batch: Batch) -> None:
    """Raises ValueError if parts have different lengths, or presence and masks do not fit them."""
    n = len(batch)
    if data.parts and any(len(x) != n for x in batch.x.values()):
        lengths = ", ".join(f"{name} {len(x)}" for name, x in batch.x.items())
        raise ValueError(f"the parts of the examples have different lengths: {lengths}")
    for name, present in (batch.present or {}).items():
        if name not in data.parts:
            raise ValueError(f"present names {name!r}, which is no part of the data")
        if tuple(present.shape) != (n,):
            raise ValueError(f"present[{name!r}] must be [{n}], not {tuple(present.shape)}")
    if batch.mask is None:
        return
    if isinstance(batch.mask, Mapping) != bool(data.parts):
        raise ValueError("a mask is a mapping by part exactly where the data has parts")
    masks = batch.mask if data.parts else {"": batch.mask}
    for name, mask in masks.items():
        if data.parts and name not in data.parts:
            raise ValueError(f"a mask names {name!r}, which is no part of the data")
        x = batch.x[name] if data.parts else batch.x
        if mask.shape != x.shape[: mask.dim()]:
            raise ValueError(f"mask {tuple(mask.shape)} does not fit examples {tuple(x.shape)}")


def check_examples(batch: Batch, likelihoods: Mapping[str, Likelihood]) -> None:
    """Checks that there are examples, and that the likelihood has a density for what is observed.

    What a mask hides and what a missing part holds has no influence and may be anything.

    Args:
        batch: the examples.
        likelihoods: ``Likelihood.by_part``.

    Raises:
        UsageError: there are no examples.
        DataError: a number is NaN or infinite, or has no density; names the first such example.
    """
    if not len(batch):
        raise UsageError("expected at least one example, got none")
    if isinstance(batch.x, Mapping):
        parts = {name: batch.part(name) for name in batch.x}
        observed = {
            name: masked(masked(part.x, part.mask), batch.has(name))
            for name, part in parts.items()
        }
    else:
        observed = {"x": masked(batch.x, batch.mask)}
    for name, values in observed.items():
        _check_finite(name, values)
        likelihood = likelihoods.get(name)  # those of plugins may not know their parts
        support = "real" if likelihood is None else likelihood.permitted_support
        row = None if support == "real" else first_invalid_row(values, support)
        if row is not None:
            hint = "; draw samples with mean=False" if support == "count" else ""
            raise DataError(f"{name} of example {row} must be {describe_support(support)}{hint}")
    if batch.condition is not None:
        _check_finite("condition", batch.condition)
    for name, values in batch.extras.items():
        _check_finite(name, values)


def _check_finite(name: str, values: Tensor) -> None:
    """Raises DataError if a number is NaN or infinite; names the first such example."""
    if fault := first_fault(values, f"{name} of example"):
        raise DataError(f"{fault}; only what a mask hides may be missing")


def to_extras(
    data: DataSpec, extras: Mapping[str, Any], n: int, device: torch.device
) -> dict[str, Tensor]:
    """Extras of n examples as tensors ``[n, ...]`` on a device.

    Args:
        data: describes the data of the model.
        extras: numbers by name, in any form that torch accepts.
        n: the number of examples.
        device: the device of the result.

    Raises:
        ValueError: the data has no such extra, or its shape is another one.
    """
    tensors = {}
    for name, value in extras.items():
        if name not in data.extras:
            known = ", ".join(data.extras) or "none"
            raise ValueError(f"the data has no extra {name!r}; it has {known}")
        tensor = torch.as_tensor(value, device=device)
        if tuple(tensor.shape) != (n, *data.extras[name]):
            raise ValueError(
                f"extra {name!r} must have the shape {(n, *data.extras[name])} for {n} examples, "
                f"not {tuple(tensor.shape)}"
            )
        tensors[name] = tensor.float() if tensor.is_floating_point() else tensor
    return tensors
