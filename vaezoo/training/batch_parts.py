"""The parts of a training batch, of which batch norm may need more than one example each."""

from __future__ import annotations

import copy
from collections.abc import Iterator

from torch.nn.modules.batchnorm import _BatchNorm

from vaezoo.data.loader import Loader
from vaezoo.model.task import Task
from vaezoo.utils.errors import describe_error
from vaezoo.utils.seeds import seeded

_SINGLE_VALUE = "Expected more than 1"
"""How torch begins its error about a normalisation of a single value."""


def part_sizes(examples: int, parts: int, fewest: int = 1) -> list[int]:
    """The sizes of the parts that a batch is split into, in their order.

    Args:
        examples: the size of the batch.
        parts: the number of parts; there are fewer where the examples do not suffice.
        fewest: the fewest examples of a part. A last part with fewer joins the one before.
    """
    size = max(-(-examples // parts), fewest)
    full, remaining = divmod(examples, size)
    sizes = [size] * full
    if remaining >= fewest or not sizes:
        return [*sizes, remaining]
    return [*sizes[:-1], sizes[-1] + remaining]


def describe_step_error(error: Exception) -> str:
    """An error of a training step on one line, with what to do about it where that is known."""
    reason = describe_error(error)
    if "aot_autograd" in reason:
        reason += "; a component that differentiates within a pass must set eager = True"
    if _SINGLE_VALUE in reason:
        reason += "; a norm gets one value per channel: use another, or larger batches or maps"
    return reason


def needs_two_examples(task: Task, loader: Loader, accumulate: int) -> bool:
    """Whether training meets a part of one example that batch norm cannot normalise.

    With one value per channel, as in an MLP, its variance is not defined; an image has more. Only
    a pass tells, so a copy of the task passes one example.

    Args:
        task: on the device of the loader.
        loader: the training split.
        accumulate: the number of parts that each batch of a process is split into.
    """
    has_norm = any(isinstance(module, _BatchNorm) for module in task.modules())
    if not has_norm or 1 not in _training_parts(loader, accumulate):
        return False
    with seeded(loader.device, "one example"):
        trial, example = copy.deepcopy(task).train(), loader.first(1)
        with trial.active():
            for phase in trial.phases():
                try:
                    phase.loss(trial.model, example)
                except Exception as error:  # any other one is reported in training
                    if _SINGLE_VALUE in str(error):
                        return True
    return False


def _training_parts(loader: Loader, accumulate: int) -> Iterator[int]:
    """The sizes of the parts of training batches, over all processes."""
    full, remaining = divmod(len(loader), loader.batch_size)
    batches = [loader.batch_size] * (full > 0) + [remaining] * (remaining >= loader.world_size)
    for examples in batches:
        for share in {examples // loader.world_size, -(-examples // loader.world_size)}:
            yield from part_sizes(share, accumulate)
