"""Inputs of zeros, with which the composer finds the shapes of outputs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vaezoo.data.batch import Batch
from vaezoo.data.dataspec import DataSpec
from vaezoo.model.fusion import ContextFusion
from vaezoo.model.parts import Decoder


def encoder_input(
    data: DataSpec, fusion: ContextFusion | None, steps: int | None = None
) -> tuple[Any, Any]:
    """Two examples of zeros as encoder input, and a mask of ones if the data have masks.

    Args:
        data: describes one example.
        fusion: fuses the context with the data, or None.
        steps: the number of steps of a sequence; None for the shape of the data.
    """
    if data.parts:
        examples = batch(data, stepwise=False, conditional=False)
        return examples.x, examples.mask
    shape = data.shape if fusion is None else fusion.out_shape
    mask_shape = data.shape[: data.mask_dims]
    if steps is not None:
        shape, mask_shape = (steps, *shape[1:]), (steps, *mask_shape[1:])
    if fusion is not None and data.is_sequence:
        mask_shape = mask_shape[:1]
    mask = torch.ones(2, *mask_shape, dtype=torch.bool) if data.mask_dims else None
    return torch.zeros(2, *shape), mask if fusion is None else fusion.fused_mask(mask)


def conditions(data: DataSpec) -> Tensor:
    """Two conditions of zeros."""
    shape = data.condition_shape
    assert shape is not None, "the data have conditions"
    return torch.zeros(2, *shape, dtype=torch.float32 if shape else torch.int64)


def batch(data: DataSpec, *, stepwise: bool, conditional: bool) -> Batch:
    """Two examples of zeros, with a mask of ones if the data have masks.

    Args:
        data: describes one example.
        stepwise: whether examples have a single step.
        conditional: whether they have conditions of zeros.
    """
    extras = {name: torch.zeros(2, *shape) for name, shape in data.extras.items()}
    condition = conditions(data) if conditional else None
    if data.parts:
        parts = {
            name: batch(part, stepwise=False, conditional=False)
            for name, part in data.parts.items()
        }
        masks = {name: part.mask for name, part in parts.items() if part.mask is not None}
        x = {name: part.x for name, part in parts.items()}
        return Batch(x, condition, masks or None, extras=extras)
    shape, mask_shape = data.shape, data.shape[: data.mask_dims]
    if stepwise:
        shape, mask_shape = (1, *shape[1:]), (1, *mask_shape[1:])
    mask = torch.ones(2, *mask_shape, dtype=torch.bool) if mask_shape else None
    return Batch(torch.zeros(2, *shape), condition, mask, extras=extras)


class NoDecoder(Decoder):
    """Stands in for the decoder until the shape of codes is known."""

    def forward(self, code: Tensor) -> Tensor:
        """Raises ValueError: latents may not decode while they sample the prior."""
        raise ValueError("generate must not decode: the decoder is built for the codes it returns")
