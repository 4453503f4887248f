"""The base class of the components that take part in passes through a model."""

from __future__ import annotations

from typing import ClassVar

from torch import nn


class Component(nn.Module):
    """A part of a model or of its training objective.

    The composer passes its wiring as one positional-only argument; its keyword-only parameters
    are its options in a spec. A component is passed the model in every pass and does not keep it,
    so that averaged weights, export and several processes need no special case.
    """

    eager: ClassVar[bool] = False
    """Whether it calls ``torch.autograd.grad`` within a pass. A model or a task with such a
    component is not compiled, and is evaluated under ``torch.no_grad`` and not under
    ``torch.inference_mode``: the component enables gradients where it needs them."""


def is_eager(module: nn.Module) -> bool:
    """Whether a module contains a component that differentiates within a pass."""
    return any(isinstance(part, Component) and part.eager for part in module.modules())
