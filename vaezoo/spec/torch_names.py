"""Looks up torch's optimizers and learning-rate schedulers by name and checks their options."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from functools import cache
from typing import Any

import torch
from torch.optim import Optimizer, lr_scheduler
from torch.optim.lr_scheduler import LRScheduler

from vaezoo.model.optimization import Optimization, TorchBlock
from vaezoo.utils.errors import describe_error, did_you_mean

TOTAL_STEP_OPTIONS = ("T_max", "total_steps")
"""The options of schedulers that default to the length of training."""
_ABSOLUTE = frozenset({"OneCycleLR", "CyclicLR", "CosineAnnealingWarmRestarts"})
"""Schedulers that set the learning rate at each step; the others multiply it, as warm-up does."""
_UNSUPPORTED = {
    "lbfgs": "needs a closure",
    "lambdalr": "needs a function",
    "multiplicativelr": "needs a function",
    "chainedscheduler": "combines schedulers",
    "sequentiallr": "combines schedulers",
    "sparseadam": "needs sparse gradients",
    "muon": "supports only matrices",
}
"""Classes that a spec cannot use, and why."""


@cache
def classes_by_name(role: str) -> dict[str, type]:
    """torch's classes for a role that specs can use, by lower-case name.

    Args:
        role: ``optimizer`` or ``scheduler``.
    """
    module, base = (torch.optim, Optimizer) if role == "optimizer" else (lr_scheduler, LRScheduler)
    classes = {
        name.lower(): cls
        for name, cls in vars(module).items()
        if isinstance(cls, type) and issubclass(cls, base)
    }
    return {
        name: cls
        for name, cls in classes.items()
        if cls is not base and name not in _UNSUPPORTED and name[0] != "_"
    }


def find_class(role: str, block: TorchBlock) -> type | None:
    """The class that a block names; ``cosine-annealing`` is ``CosineAnnealingLR``."""
    name = _normalized_name(block)
    classes = classes_by_name(role)
    return classes.get(name) or classes.get(f"{name}lr")


def _normalized_name(block: TorchBlock) -> str:
    return block.type.lower().replace("-", "").replace("_", "")


def complete_options(block: TorchBlock, cls: type, total_steps: int) -> dict[str, Any]:
    """The options of a block; ``T_max`` and ``total_steps`` default to ``total_steps``."""
    options = dict(block.model_extra or {})
    for name in TOTAL_STEP_OPTIONS:
        if (
            name in inspect.signature(cls).parameters
            and name not in options
            and "epochs" not in options
        ):
            options[name] = total_steps
    return options


def warmup_error(config: Optimization) -> str | None:
    """Why warm-up cannot be combined with the scheduler; None if it can."""
    if not config.warmup or config.scheduler is None:
        return None
    cls = find_class("scheduler", config.scheduler)
    if cls is None or cls.__name__ not in _ABSOLUTE:
        return None
    return f"scheduler {config.scheduler.type!r} sets the learning rate itself; remove warmup"


def find_errors(role: str, block: TorchBlock) -> Iterator[tuple[str, str]]:
    """The errors in a block.

    Yields:
        The key with the error (empty for the block itself), and a message.
    """
    cls = find_class(role, block)
    if cls is None:
        name = _normalized_name(block)
        reason = _UNSUPPORTED.get(name) or _UNSUPPORTED.get(f"{name}lr")
        hint = f": it {reason}" if reason else did_you_mean(name, classes_by_name(role))
        yield "type", f"no {role} named {block.type!r}{hint}"
        return
    names = [
        name
        for name in inspect.signature(cls).parameters
        if name not in ("params", "optimizer", "last_epoch")
    ]
    unknown = [key for key in block.model_extra or {} if key not in names]
    yield from ((key, f"unknown key{did_you_mean(key, names)}") for key in unknown)
    if unknown:
        return
    weight = torch.nn.Parameter(torch.zeros(1))
    target: Any = (
        [weight] if role == "optimizer" else torch.optim.SGD([weight], lr=1.0, momentum=0.9)
    )
    try:
        cls(target, **complete_options(block, cls, 1000))
    except (TypeError, ValueError, RuntimeError, AttributeError) as error:
        yield "", f"{block.type}: {error}"
    except Exception as error:  # classes look into options before they check their types
        yield "", f"{block.type}: {describe_error(error)}"
