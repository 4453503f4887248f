"""Builds the optimizer and the learning-rate schedulers of a spec."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

from torch import Tensor, nn
from torch.optim import Optimizer, lr_scheduler
from torch.optim.lr_scheduler import LRScheduler

from vaezoo.model.optimization import Optimization
from vaezoo.spec import torch_names


def build_optimizer(config: Optimization, parameters: Sequence[nn.Parameter]) -> Optimizer:
    """Builds the optimizer of a phase, fused if torch has a fused implementation."""
    block = config.optimizer
    cls = torch_names.find_class("optimizer", block)
    assert cls is not None, "checked when the spec was loaded"
    options = torch_names.complete_options(block, cls, 0)
    has_fused = "fused" in inspect.signature(cls).parameters
    if has_fused and not {"fused", "foreach", "differentiable"} & options.keys():
        options["fused"] = True
    optimizer: Optimizer = cls(parameters, **options)
    return optimizer


def build_schedulers(
    config: Optimization, optimizer: Optimizer, total_steps: int
) -> list[LRScheduler]:
    """Builds the scheduler and the warm-up of a phase, which both change the learning rate.

    Args:
        config: the options of the phase.
        optimizer: the optimizer whose learning rate they change.
        total_steps: the number of optimizer steps of the phase, for schedulers that need it.
    """
    schedulers: list[LRScheduler] = []
    block, warmup = config.scheduler, config.warmup
    if block is not None:
        cls = torch_names.find_class("scheduler", block)
        assert cls is not None, "checked when the spec was loaded"
        options = torch_names.complete_options(block, cls, total_steps)
        schedulers.append(cls(optimizer, **options))
    if warmup:
        schedulers.append(lr_scheduler.LinearLR(optimizer, 1 / (warmup + 1), 1.0, warmup))
    return schedulers


def gradient_norm(parameters: Sequence[nn.Parameter]) -> Tensor:
    """The norm of the concatenated gradients, a scalar tensor."""
    return nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
