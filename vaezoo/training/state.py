"""The state of a training run that a checkpoint stores.

The keys are those of the checkpoint file. Values of type ``dict[str, Any]`` are ``state_dict()``s
of torch's own classes.
"""

from __future__ import annotations

from typing import Any, TypedDict

from torch import Tensor


class MetricLoggerState(TypedDict):
    """The metrics since the last record.

    Attributes:
        names: the names of the terms.
        rows: the mean terms of each step, ``[steps, terms]``; None without a step.
        first_step: the step of the first row, counted from 0.
    """

    names: list[str]
    rows: Tensor | None
    first_step: int


class PhaseOptimizerState(TypedDict):
    """The optimizer of one phase.

    Attributes:
        classes: the class names of the optimizer, the schedulers and the gradient scaler.
        optimizer: of the optimizer.
        schedulers: of each scheduler.
        scaler: of the gradient scaler; None unless the precision is fp16.
    """

    classes: list[str]
    optimizer: dict[str, Any]
    schedulers: list[dict[str, Any]]
    scaler: dict[str, Any] | None


class BestWeights(TypedDict):
    """The weights with the best validation so far.

    Attributes:
        value: the selection score; larger is better.
        step: the number of optimizer steps taken.
        model: the tensors of the model.
        regularizers: the tensors of the regularizers.
    """

    value: float
    step: int
    model: dict[str, Tensor]
    regularizers: dict[str, Tensor]


class TrainerState(TypedDict):
    """A training run after an optimizer step.

    Attributes:
        step: the number of optimizer steps taken.
        precision: the precision of the networks.
        task: the parameters and buffers of the task.
        phase_optimizers: one entry for each phase.
        ema: the averaged weights; None without averaging.
        best: the best weights so far.
        validations_without_improvement: the number of validations since the best.
        metric_logger: the metrics since the last record.
    """

    step: int
    precision: str
    task: dict[str, Tensor]
    phase_optimizers: list[PhaseOptimizerState]
    ema: dict[str, Tensor] | None
    best: BestWeights
    validations_without_improvement: int
    metric_logger: MetricLoggerState
