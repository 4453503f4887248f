"""Builds the optimizer and the learning-rate schedulers of a spec."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer, lr_scheduler
from torch.optim.lr_scheduler import LRScheduler

from vaezoo.model.latents import Latents
from vaezoo.model.optimization import Optimization
from vaezoo.model.parts import Likelihood, Posterior, Prior
from vaezoo.spec import torch_names


def build_optimizer(
    config: Optimization, parameters: Sequence[nn.Parameter], task: nn.Module
) -> Optimizer:
    """Builds the optimizer of a phase, fused if torch has a fused implementation.

    It has two groups of parameters, with and without weight decay, if the options ask for that;
    the second has the same learning rate.

    Args:
        config: the options of the phase.
        parameters: the parameters of the phase.
        task: contains them; tells which of them belong to distributions.
    """
    block = config.optimizer
    cls = torch_names.find_class("optimizer", block)
    assert cls is not None, "checked when the spec was loaded"
    options = torch_names.complete_options(block, cls, 0)
    signature = inspect.signature(cls).parameters
    if "fused" in signature and not {"fused", "foreach", "differentiable"} & options.keys():
        options["fused"] = True
    groups: list[dict[str, Any]] = [{"params": list(parameters)}]
    default = signature["weight_decay"].default if "weight_decay" in signature else 0
    if config.decay == "networks" and options.get("weight_decay", default):
        own = distribution_parameters(task)
        others = [parameter for parameter in parameters if id(parameter) not in own]
        own_here = [parameter for parameter in parameters if id(parameter) in own]
        groups = [{"params": others}, {"params": own_here, "weight_decay": 0.0}]
    optimizer: Optimizer = cls([group for group in groups if group["params"]], **options)
    return optimizer


def distribution_parameters(task: nn.Module) -> set[int]:
    """The ids of the parameters that are not weights of a network but of a distribution.

    These are all that a prior, posterior, likelihood or latents hold themselves, or in a list or a
    dict of parameters; not those of layers within them.
    """
    ids: set[int] = set()
    for module in task.modules():
        if isinstance(module, Prior | Posterior | Likelihood | Latents):
            collections = (nn.ParameterList, nn.ParameterDict)
            held = [part for part in module.children() if isinstance(part, collections)]
            ids.update(id(p) for part in (module, *held) for p in part.parameters(recurse=False))
    return ids


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
