"""Protects buffers from changes by a forward pass."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def frozen_buffers(module: nn.Module) -> Iterator[None]:
    """Restores every buffer after the block, such as the statistics of batch norm."""
    saved = [(buffer, buffer.clone()) for buffer in module.buffers()]
    try:
        yield
    finally:
        for buffer, value in saved:
            buffer.copy_(value)
