"""Optimizers and learning-rate schedules of torch, found by name and checked against their own signatures."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from functools import cache
from typing import Any

import torch
from torch.optim import Optimizer, lr_scheduler
from torch.optim.lr_scheduler import LRScheduler

from vaezoo.spec.schema import TorchBlock
from vaezoo.utils.errors import did_you_mean

_TOTALS = ("T_max", "total_steps")
_REFUSED = {"lbfgs": "needs a closure", "lambdalr": "needs a function", "multiplicativelr": "needs a function"}
_REFUSED |= {"chainedscheduler": "holds schedulers", "sequentiallr": "holds schedulers"}
_REFUSED |= {"sparseadam": "needs sparse gradients", "muon": "takes matrices alone"}


@cache
def known(what: str) -> dict[str, type]:
    """Every usable ``optimizer`` or ``scheduler`` of torch by its lower-case name."""
    module, base = (torch.optim, Optimizer) if what == "optimizer" else (lr_scheduler, LRScheduler)
    found = {name.lower(): cls for name, cls in vars(module).items() if isinstance(cls, type) and issubclass(cls, base)}
    return {name: cls for name, cls in found.items() if cls is not base and name not in _REFUSED and name[0] != "_"}


def find(what: str, block: TorchBlock) -> type | None:
    """The class of a block: ``cosine-annealing`` and ``CosineAnnealingLR`` are the same."""
    word = _word(block)
    return known(what).get(word) or known(what).get(f"{word}lr")


def _word(block: TorchBlock) -> str:
    return block.type.lower().replace("-", "").replace("_", "")


def options(block: TorchBlock, cls: type, total: int) -> dict[str, Any]:
    """The options of a block; a total length it leaves out is ``total`` steps."""
    given = dict(block.model_extra or {})
    for name in _TOTALS:
        if name in inspect.signature(cls).parameters and name not in given and "epochs" not in given:
            given[name] = total
    return given


def faults(what: str, block: TorchBlock) -> Iterator[tuple[str, str]]:
    """What is wrong with a block: the key at fault (empty for the whole), and a message."""
    cls = find(what, block)
    if cls is None:
        word = _word(block)
        refused = next((reason for name in (word, f"{word}lr") if (reason := _REFUSED.get(name))), None)
        hint = f": it {refused}" if refused else did_you_mean(word, known(what))
        yield "type", f"no {what} named {block.type!r}{hint}"
        return
    names = [name for name in inspect.signature(cls).parameters if name not in ("params", "optimizer", "last_epoch")]
    unknown = [key for key in block.model_extra or {} if key not in names]
    yield from ((key, f"unknown key{did_you_mean(key, names)}") for key in unknown)
    if unknown:
        return
    weight = torch.nn.Parameter(torch.zeros(1))
    target: Any = [weight] if what == "optimizer" else torch.optim.SGD([weight], lr=1.0, momentum=0.9)
    try:
        cls(target, **options(block, cls, 1000))
    except (TypeError, ValueError, RuntimeError, AttributeError) as error:
        yield "", f"{block.type}: {error}"
