"""Distributions without a density, and the stop-gradient of a distribution."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution


def detach(distribution: Distribution) -> Distribution:
    """The same distribution with gradients stopped at its parameters.

    Raises:
        TypeError: it holds a module (a flow, say), whose weights cannot be detached.
    """
    clone = copy.copy(distribution)
    for name, value in vars(distribution).items():
        clone.__dict__[name] = _detach_value(value)
    return clone


def _detach_value(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach()
    if isinstance(value, Distribution):
        return detach(value)
    if isinstance(value, list | tuple):
        return type(value)(_detach_value(item) for item in value)
    if isinstance(value, torch.nn.Module | torch.distributions.Transform):
        raise TypeError(f"cannot stop gradients inside {type(value).__name__}; use the standard gradient")
    return value


class Implicit(Distribution):
    """A posterior known by its samples alone: a point, or the output of a network fed with noise.

    Args:
        value: one sample for each example, ``[*, D]``, which carries gradients.
        resample: makes fresh samples of a given leading shape, ``[*sample_shape, *, D]``; None: all are ``value``.
    """

    arg_constraints: dict[str, Any] = {}
    has_rsample = True

    def __init__(self, value: Tensor, resample: Callable[[torch.Size], Tensor] | None = None) -> None:
        self.value, self.resample = value, resample
        super().__init__(value.shape[:-1], value.shape[-1:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """The point, or the one sample that stands for the rest, ``[*, D]``."""
        return self.value

    def rsample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = torch.Size()) -> Tensor:  # noqa: B008
        """Samples ``[*sample_shape, *, D]``."""
        shape = torch.Size(sample_shape)
        return self.value.expand(*shape, *self.value.shape) if self.resample is None else self.resample(shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """Not defined."""
        raise NotImplementedError("this posterior has no density, so neither rate nor bound is defined")
