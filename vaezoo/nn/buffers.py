"""Buffers that a forward pass must leave alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def frozen_buffers(module: nn.Module) -> Iterator[None]:
    """Puts every buffer back as it was, so that a forward pass leaves no statistics behind."""
    saved = [(buffer, buffer.clone()) for buffer in module.buffers()]
    try:
        yield
    finally:
        for buffer, value in saved:
            buffer.copy_(value)
