"""The state of a training run that a checkpoint stores.

The keys are those of the checkpoint file. Values of type ``dict[str, Any]`` are ``state_dict()``s
of torch's own classes.
"""

from __future__ import annotations

from typing import Any, TypedDict

from torch import Tensor


class MetricTable(TypedDict):
    """The mean terms of the steps in which the same phases were stepped.

    Attributes:
        names: the names of the terms.
        steps: the steps, counted from 0.
        rows: the mean terms of each step, ``[steps, terms]``.
    """

    names: list[str]
    steps: list[int]
    rows: Tensor


class MetricLoggerState(TypedDict):
    """The metrics since the last record.

    Attributes:
        tables: one for each set of phases that were stepped together.
    """

    tables: list[MetricTable]


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
        step: the number of training steps taken.
        model: the tensors of the model.
        regularizers: the tensors of the regularizers.
        objective: the tensors of the objective.
    """

    value: float
    step: int
    model: dict[str, Tensor]
    regularizers: dict[str, Tensor]
    objective: dict[str, Tensor]


class TrainerState(TypedDict):
    """A training run after a training step.

    Attributes:
        stage: the index of the stage.
        steps_before: the number of training steps that earlier stages took.
        step: the number of training steps taken in this stage.
        precision: the precision of the networks.
        task: the parameters and buffers of the task.
        phase_optimizers: one entry for each phase.
        ema: the averaged weights; None without averaging.
        best: the best weights so far.
        validations_without_improvement: the number of validations since the best.
        metric_logger: the metrics since the last record.
    """

    stage: int
    steps_before: int
    step: int
    precision: str
    task: dict[str, Tensor]
    phase_optimizers: list[PhaseOptimizerState]
    ema: dict[str, Tensor] | None
    best: BestWeights
    validations_without_improvement: int
    metric_logger: MetricLoggerState
