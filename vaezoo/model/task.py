"""What is optimised: a model, an objective and regularizers, and the moves of every player."""

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
        model: what is trained.
        objective: the loss without penalties.
        regularizers: penalties by the name they are logged under.
    """

    def __init__(self, model: Model, objective: Objective, regularizers: Mapping[str, Regularizer]) -> None:
        super().__init__()
        self.model, self.objective = model, objective
        self.regularizers = nn.ModuleDict(regularizers)
        self.weights: dict[str, float | Tensor] = {}
        self.set_step(0)

    def set_step(self, step: int) -> None:
        """Takes the weights of regularizers that hold at an optimizer step."""
        self.weights = {name: penalty.weight_at(step) for name, penalty in self.penalties()}

    def penalties(self) -> list[tuple[str, Regularizer]]:
        """The regularizers, each with the name it is logged under."""
        return [(name, module) for name, module in self.regularizers.items() if isinstance(module, Regularizer)]

    @property
    def has_trainable_regularizers(self) -> bool:
        """Whether a regularizer learns weights of its own."""
        return any(True for _ in self.regularizers.parameters())

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of each example ``[B]`` in nats, and what it is made of."""
        trace = self.model(batch, self.objective.num_samples)
        loss = self.objective(trace)
        terms = {}
        for name, penalty in self.penalties():
            value = penalty(trace)
            weight = self.weights[name]
            loss = loss + weight * value if isinstance(weight, Tensor) else torch.add(loss, value, alpha=weight)
            terms[name] = value
        rate = {"rate": trace.mean_rate} if trace.has_rate else {}
        return loss, {"distortion": trace.mean_distortion, **rate, **terms}

    @property
    def self_tuning_parts(self) -> list[Schedule | Objective]:
        """The parts that tune themselves by what a step measured."""
        return [part for part in self.modules() if isinstance(part, Schedule | Objective) and part.self_tuning]

    def update(self, terms: Mapping[str, Tensor]) -> None:
        """Lets them hear the scalar terms of a step."""
        for part in self.self_tuning_parts:
            part.update(terms)

    def phases(self) -> Sequence[Phase]:
        """The model's move, then those of the regularizers' players."""
        others = [phase for _, penalty in self.penalties() for phase in penalty.phases(self.model)]
        return (Phase("model", self, self), *others)

    def parameters_of(self, phase: Phase) -> list[nn.Parameter]:
        """The weights a phase may change: its module's, and for the model's phase all that no other owns."""
        own = list(phase.module.parameters())
        if phase.module is self:
            taken = {id(p) for other in self.phases() if other.module is not self for p in other.module.parameters()}
            own = [parameter for parameter in own if id(parameter) not in taken]
        return [parameter for parameter in own if parameter.requires_grad]


def unique_name(name: str, taken: dict[str, Any]) -> str:
    """``name``, or ``name-2`` and so on where it is taken."""
    count = 1
    while (candidate := name if count == 1 else f"{name}-{count}") in taken:
        count += 1
    return candidate
