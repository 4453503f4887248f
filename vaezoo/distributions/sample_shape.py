"""The type of the argument ``sample_shape`` of ``sample`` and ``rsample``."""

from __future__ import annotations

from typing import TypeAlias

import torch

SampleShape: TypeAlias = torch.Size | list[int] | tuple[int, ...]
"""The leading dimensions of samples; ``torch.Size()`` for a single sample."""
