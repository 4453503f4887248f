"""Builds the optimizer and the learning-rate schedulers of a spec."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

from torch import Tensor, nn
from torch.optim import Optimizer, lr_scheduler
from torch.optim.lr_scheduler import LRScheduler

from vaezoo.spec import torch_names
from vaezoo.spec.spec import Spec

_ABSOLUTE = frozenset({"OneCycleLR", "CyclicLR", "CosineAnnealingWarmRestarts"})
"""Schedulers that set the learning rate at each step; the others multiply it, as warm-up does."""


def build_optimizer(spec: Spec, parameters: Sequence[nn.Parameter]) -> Optimizer:
    """Builds ``train.optimizer``, fused if torch has a fused implementation."""
    block = spec.train.optimizer
    cls = torch_names.find_class("optimizer", block)
    assert cls is not None, "checked when the spec was loaded"
    options = torch_names.complete_options(block, cls, 0)
    has_fused = "fused" in inspect.signature(cls).parameters
    if has_fused and not {"fused", "foreach", "differentiable"} & options.keys():
        options["fused"] = True
    optimizer: Optimizer = cls(parameters, **options)
    return optimizer


def build_schedulers(spec: Spec, optimizer: Optimizer, total_steps: int) -> list[LRScheduler]:
    """Builds ``train.scheduler`` and the warm-up, which both change the learning rate.

    Args:
        spec: the spec.
        optimizer: the optimizer whose learning rate they change.
        total_steps: the number of optimizer steps of the run, for schedulers that need it.

    Raises:
        SpecError: warm-up is combined with a scheduler that sets the learning rate at each step.
    """
    schedulers: list[LRScheduler] = []
    block, warmup = spec.train.scheduler, spec.train.warmup
    if block is not None:
        cls = torch_names.find_class("scheduler", block)
        assert cls is not None, "checked when the spec was loaded"
        if warmup and cls.__name__ in _ABSOLUTE:
            message = f"scheduler {block.type!r} sets the learning rate itself; remove warmup"
            raise spec.problem("train.warmup", message)
        options = torch_names.complete_options(block, cls, total_steps)
        schedulers.append(cls(optimizer, **options))
    if warmup:
        schedulers.append(lr_scheduler.LinearLR(optimizer, 1 / (warmup + 1), 1.0, warmup))
    return schedulers


def gradient_norm(parameters: Sequence[nn.Parameter]) -> Tensor:
    """The norm of the concatenated gradients, a scalar tensor."""
    return nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
