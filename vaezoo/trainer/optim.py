"""Optimizers and learning-rate schedules of torch, by name and with their own options."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer, lr_scheduler
from torch.optim.lr_scheduler import LRScheduler

from vaezoo.errors import did_you_mean
from vaezoo.spec.load import Spec
from vaezoo.spec.schema import TorchBlock

_TOTALS = ("T_max", "total_steps")
_REFUSED = {"lbfgs": "needs a closure", "lambdalr": "needs a function", "multiplicativelr": "needs a function"}
_REFUSED |= {"chainedscheduler": "holds schedulers", "sequentiallr": "holds schedulers"}
_REFUSED |= {"sparseadam": "needs sparse gradients", "muon": "takes matrices alone"}


def _classes(module: Any, base: type) -> dict[str, type]:
    found = {name.lower(): cls for name, cls in vars(module).items() if isinstance(cls, type) and issubclass(cls, base)}
    return {name: cls for name, cls in found.items() if cls is not base and name not in _REFUSED and name[0] != "_"}


def optimizers() -> dict[str, type]:
    """Every optimizer of ``torch.optim`` by its lower-case name."""
    return _classes(torch.optim, Optimizer)


def schedulers() -> dict[str, type]:
    """Every scheduler of ``torch.optim.lr_scheduler`` by its lower-case name."""
    return _classes(lr_scheduler, LRScheduler)


def _find(block: TorchBlock, known: dict[str, type], path: str, spec: Spec) -> type:
    word = block.type.lower().replace("-", "").replace("_", "")
    for name in (word, f"{word}lr"):
        if name in known:
            return known[name]
    refused = next((reason for name in (word, f"{word}lr") if (reason := _REFUSED.get(name))), None)
    hint = f": it {refused}" if refused else did_you_mean(word, known)
    raise spec.problem(f"{path}.type", f"no {path.rpartition('.')[2]} named {block.type!r}{hint}")


def _options(block: TorchBlock, cls: type, path: str, spec: Spec) -> dict[str, Any]:
    options = dict(block.model_extra or {})
    known = [name for name in inspect.signature(cls).parameters if name not in ("params", "optimizer", "last_epoch")]
    for key in options:
        if key not in known:
            raise spec.problem(f"{path}.{key}", f"unknown key{did_you_mean(key, known)}")
    return options


def build_optimizer(spec: Spec, parameters: Sequence[nn.Parameter]) -> Optimizer:
    """The optimizer of ``train.optimizer``, fused where torch has a fused one.

    Raises:
        SpecError: no such optimizer, or options it does not take.
    """
    block, path = spec.train.optimizer, "train.optimizer"
    cls = _find(block, optimizers(), path, spec)
    options = _options(block, cls, path, spec)
    if "fused" in inspect.signature(cls).parameters and not {"fused", "foreach", "differentiable"} & options.keys():
        options["fused"] = True
    try:
        return cls(parameters, **options)
    except (TypeError, ValueError, RuntimeError) as error:
        raise spec.problem(path, f"{block.type}: {error}") from error


def build_schedulers(spec: Spec, optimizer: Optimizer, total: int) -> list[LRScheduler]:
    """The warm-up and ``train.scheduler``, each multiplying the learning rate once per optimizer step.

    Args:
        spec: the spec.
        optimizer: whose learning rate is moved.
        total: the steps of the whole run, for schedulers that must know it.

    Raises:
        SpecError: no such scheduler, or options it does not take.
    """
    found: list[LRScheduler] = []
    block, path, warmup = spec.train.scheduler, "train.scheduler", spec.train.warmup
    if block is not None:
        cls = _find(block, schedulers(), path, spec)
        options = _options(block, cls, path, spec)
        for name in _TOTALS:
            if name in inspect.signature(cls).parameters and name not in options and "epochs" not in options:
                options[name] = total
        try:
            found.append(cls(optimizer, **options))
        except (TypeError, ValueError, AttributeError) as error:
            raise spec.problem(path, f"{block.type}: {error}") from error
    if warmup:
        found.append(lr_scheduler.LinearLR(optimizer, 1 / (warmup + 1), 1.0, warmup))
    return found


def gradient_norm(parameters: Sequence[nn.Parameter]) -> Tensor:
    """The norm of all gradients together."""
    return nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
