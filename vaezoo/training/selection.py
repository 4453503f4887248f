"""Selects the weights of a stage by their validation, and decides when to stop early."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor, nn

from vaezoo.model.task import Task
from vaezoo.spec.schema import TrainSpec
from vaezoo.training.state import BestWeights


class Selection:
    """The best weights so far.

    Args:
        config: the training options of the stage.
    """

    def __init__(self, config: TrainSpec) -> None:
        self.config = config
        self.best: BestWeights = {
            "value": -math.inf,
            "step": 0,
            "model": {},
            "regularizers": {},
            "objective": {},
        }
        self.validations_without_improvement = 0

    def score(self, metrics: Mapping[str, float], step: int) -> float:
        """The score by which the best weights are selected; larger is better.

        Args:
            metrics: of the validation split.
            step: the number of training steps taken, which is the score if the last are selected.
        """
        select = self.config.select
        if select == "last":
            return float(step)
        return -metrics["distortion"] if select == "distortion" else metrics[select]

    def plateau_loss(self, metrics: Mapping[str, float], score: float) -> float:
        """The loss whose plateaus schedulers react to; smaller is better."""
        if self.config.select != "last":
            return -score
        return metrics["distortion"] if "distortion" in metrics else -metrics["bound"]

    def consider(self, score: float, step: int, task: Task) -> bool:
        """Keeps a copy of the weights of a task if they are the best so far; returns whether."""
        self.validations_without_improvement += 1
        if score <= self.best["value"]:
            return False
        self.validations_without_improvement = 0
        self.best = {
            "value": score,
            "step": step,
            "model": _copy_weights(task.model),
            "regularizers": _copy_weights(task.regularizers),
            "objective": _copy_weights(task.objective),
        }
        return True

    @property
    def should_stop_early(self) -> bool:
        """Whether ``early_stopping`` validations have brought no improvement."""
        patience = self.config.early_stopping
        return patience is not None and self.validations_without_improvement >= patience


def _copy_weights(module: nn.Module) -> dict[str, Tensor]:
    """A copy of the parameters and buffers of a module."""
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
