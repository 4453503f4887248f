"""Optimizers and learning-rate schedules as a spec names them."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

from torch import Tensor, nn
from torch.optim import Optimizer, lr_scheduler
from torch.optim.lr_scheduler import LRScheduler

from vaezoo.spec import torch_names as torch_names
from vaezoo.spec.spec import Spec

_ABSOLUTE = frozenset({"OneCycleLR", "CyclicLR", "CosineAnnealingWarmRestarts"})
"""Schedulers that set the learning rate anew at each step, where others multiply it."""


def build_optimizer(spec: Spec, parameters: Sequence[nn.Parameter]) -> Optimizer:
    """The optimizer of ``train.optimizer``, fused where torch has a fused one."""
    block = spec.train.optimizer
    cls = torch_names.find("optimizer", block)
    assert cls is not None, "checked when the spec was loaded"
    options = torch_names.options(block, cls, 0)
    if "fused" in inspect.signature(cls).parameters and not {"fused", "foreach", "differentiable"} & options.keys():
        options["fused"] = True
    optimizer: Optimizer = cls(parameters, **options)
    return optimizer


def build_schedulers(spec: Spec, optimizer: Optimizer, total: int) -> list[LRScheduler]:
    """The warm-up and ``train.scheduler``, each multiplying the learning rate once per optimizer step.

    Args:
        spec: the spec.
        optimizer: whose learning rate is moved.
        total: the steps of the whole run, for schedulers that must know it.
    """
    found: list[LRScheduler] = []
    block, warmup = spec.train.scheduler, spec.train.warmup
    if block is not None:
        cls = torch_names.find("scheduler", block)
        assert cls is not None, "checked when the spec was loaded"
        if warmup and cls.__name__ in _ABSOLUTE:
            raise spec.problem("train.warmup", f"scheduler {block.type!r} sets the learning rate itself; remove warmup")
        found.append(cls(optimizer, **torch_names.options(block, cls, total)))
    if warmup:
        found.append(lr_scheduler.LinearLR(optimizer, 1 / (warmup + 1), 1.0, warmup))
    return found


def gradient_norm(parameters: Sequence[nn.Parameter]) -> Tensor:
    """The norm of all gradients together."""
    return nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
