"""The training task: a model with an objective, regularizers and the phases of a training step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vaezoo.data.batch import Batch
from vaezoo.model.model import Model
from vaezoo.model.objectives import Objective, Phase, Regularizer, Schedule


class Task(nn.Module):
    """A composed training problem.

    Args:
        model: the model to train.
        objective: the loss before regularizers are added.
        regularizers: the penalties by the name they are logged under.
    """

    def __init__(
        self, model: Model, objective: Objective, regularizers: Mapping[str, Regularizer]
    ) -> None:
        super().__init__()
        self.model, self.objective = model, objective
        self.regularizers = nn.ModuleDict(regularizers)
        self.weights: dict[str, float | Tensor] = {}
        self.set_step(0)

    def set_step(self, step: int) -> None:
        """Sets the weights of the regularizers to those of an optimizer step, counted from 0."""
        self.weights = {
            name: penalty.weight_at(step) for name, penalty in self.named_regularizers()
        }

    def named_regularizers(self) -> list[tuple[str, Regularizer]]:
        """The regularizers with the names they are logged under."""
        modules = self.regularizers.items()
        return [(name, module) for name, module in modules if isinstance(module, Regularizer)]

    @property
    def has_trainable_regularizers(self) -> bool:
        """Whether a regularizer has parameters of its own."""
        return any(True for _ in self.regularizers.parameters())

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Computes the loss of a batch.

        Returns:
            The loss of each example ``[B]`` in nats; and the terms to log: ``distortion``,
            ``rate`` if it is defined, and each penalty before weighting.
        """
        trace = self.objective.trace(self.model, batch)
        loss = self.objective(trace)
        terms = {}
        for name, penalty in self.named_regularizers():
            value = penalty(trace)
            weight = self.weights[name]
            loss = (
                loss + weight * value
                if isinstance(weight, Tensor)
                else torch.add(loss, value, alpha=weight)
            )
            terms[name] = value
        rate = {"rate": trace.mean_rate} if trace.has_rate else {}
        return loss, {"distortion": trace.mean_distortion, **rate, **terms}

    @property
    def self_tuning_parts(self) -> list[Schedule | Objective]:
        """The schedules and objectives that adapt themselves after each step."""
        parts = [part for part in self.modules() if isinstance(part, Schedule | Objective)]
        return [part for part in parts if part.self_tuning]

    def update(self, terms: Mapping[str, Tensor]) -> None:
        """Passes the mean terms of a step, scalars on the device, to the self-tuning parts."""
        for part in self.self_tuning_parts:
            part.update(terms)

    def phases(self) -> Sequence[Phase]:
        """The phase of the model, then those of the regularizers."""
        others = [phase for _, penalty in self.named_regularizers() for phase in penalty.phases()]
        return (Phase("model", self, lambda model, batch: self(batch)), *others)

    def parameters_of(self, phase: Phase) -> list[nn.Parameter]:
        """The parameters that a phase may change.

        These are the trainable parameters of its module; for the phase of the model, all trainable
        parameters of the task that belong to no other phase.
        """
        own = list(phase.module.parameters())
        if phase.module is self:
            others = [other.module for other in self.phases() if other.module is not self]
            other_ids = {id(parameter) for module in others for parameter in module.parameters()}
            own = [parameter for parameter in own if id(parameter) not in other_ids]
        return [parameter for parameter in own if parameter.requires_grad]


def unique_name(name: str, used_names: Mapping[str, Any]) -> str:
    """Returns ``name``, or ``name-2``, ``name-3`` and so on if it is used already."""
    count = 1
    while (candidate := name if count == 1 else f"{name}-{count}") in used_names:
        count += 1
    return candidate
