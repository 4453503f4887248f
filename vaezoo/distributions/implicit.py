"""Distributions without a density, and distributions with stopped gradients."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from vaezoo.distributions.density import Density
from vaezoo.distributions.sample_shape import SampleShape


def detach(distribution: Distribution) -> Distribution:
    """Returns a copy of a distribution with detached parameters.

    Raises:
        TypeError: it contains a module, such as a flow, whose weights cannot be detached.
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
        raise TypeError(
            f"cannot stop gradients inside {type(value).__name__}; use the standard gradient"
        )
    return value


class Implicit(Distribution):
    """An implicit distribution, which can be sampled but has no density.

    Examples are a deterministic posterior, and the output of a network with noise as its input.

    Args:
        value: one sample per example, ``[*, D]``, with gradients.
        resample: returns new samples ``[*sample_shape, *, D]`` for a ``sample_shape``; None for a
            deterministic distribution, all samples of which are ``value``.
        event_dims: the number of dimensions of one sample, 1 for vectors.
    """

    arg_constraints: dict[str, Any] = {}
    has_rsample = True
    density: Density = "none"

    def __init__(
        self,
        value: Tensor,
        resample: Callable[[torch.Size], Tensor] | None = None,
        event_dims: int = 1,
    ) -> None:
        self.value, self.resample = value, resample
        batch_shape, event_shape = value.shape[:-event_dims], value.shape[-event_dims:]
        super().__init__(batch_shape, event_shape, validate_args=False)

    @property
    def mean(self) -> Tensor:
        """The deterministic value, or one sample in place of the unknown mean, ``[*, D]``."""
        return self.value

    def rsample(self, sample_shape: SampleShape = torch.Size()) -> Tensor:  # noqa: B008
        """Samples ``[*sample_shape, *, D]``."""
        shape = torch.Size(sample_shape)
        if self.resample is not None:
            return self.resample(shape)
        return self.value.expand(*shape, *self.value.shape)  # [*sample_shape, *, D]

    def log_prob(self, value: Tensor) -> Tensor:
        """Raises NotImplementedError: an implicit distribution has no density."""
        raise NotImplementedError(
            "this distribution has no density, so neither rate nor bound is defined"
        )
