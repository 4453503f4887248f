"""The training task: a model with an objective and regularizers, and the parts that it trains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Self

import torch
from torch import Tensor, nn

from vaezoo.data.batch import Batch
from vaezoo.model.component import Component, StepResult, overrides
from vaezoo.model.latent_variable_model import OWN_PRIOR
from vaezoo.model.model import Model
from vaezoo.model.objectives import Objective, Regularizer, Schedule
from vaezoo.model.phase import Phase


class Task(nn.Module):
    """A composed training problem: what one stage trains.

    Args:
        model: the model to train.
        objective: the loss before regularizers are added.
        regularizers: the penalties by the name they are logged under.
        parts: the names of the submodules of the model that are trained; None trains all. The
            others stand still: in evaluation mode, with constant weights, buffers and schedules.
        prior: the prior of all passes: ``prior`` is the model's own, any other name a sampler.
        has_rate: whether the rate means something: not while a prior with weights was not trained.
    """

    def __init__(
        self,
        model: Model,
        objective: Objective,
        regularizers: Mapping[str, Regularizer],
        *,
        parts: Sequence[str] | None = None,
        prior: str = OWN_PRIOR,
        has_rate: bool = True,
    ) -> None:
        super().__init__()
        self.model, self.objective = model, objective
        self.regularizers = nn.ModuleDict(regularizers)
        self.parts, self.prior = None if parts is None else tuple(parts), prior
        self.has_rate = has_rate
        trained = [part for part in self._trained_modules() if isinstance(part, Component)]
        self.schedules = [part for part in trained if isinstance(part, Schedule)]
        self.initialised_parts = [part for part in trained if overrides(part, "initialise")]
        self.adapting_parts = [part for part in trained if overrides(part, "after_step")]
        self.phase_owners = [part for part in trained if overrides(part, "phases")]
        self.pooling_parts = [part for part in trained if part.pools_examples]
        self.set_step(0)

    def trained_roots(self) -> list[nn.Module]:
        """The modules that are trained, with all that is in them."""
        # samplers are trained only where a stage names them
        names = self.model.own_parts if self.parts is None else self.parts
        parts = [self.model.get_submodule(name) for name in names]
        return [*parts, self.objective, self.regularizers]

    def _trained_modules(self) -> list[nn.Module]:
        """The modules that are trained, each once, in the order of the task."""
        trained = {id(module) for root in self.trained_roots() for module in root.modules()}
        return [module for module in self.modules() if id(module) in trained]

    def trained_ids(self) -> set[int]:
        """The ids of the parameters that are trained."""
        return {id(parameter) for root in self.trained_roots() for parameter in root.parameters()}

    def train(self, mode: bool = True) -> Self:
        """Sets the mode, except that parts which stand still stay in evaluation mode."""
        super().train(mode)
        if mode and self.parts is not None:
            self.model.eval()
            for name in self.parts:
                self.model.get_submodule(name).train()
        return self

    @contextmanager
    def active(self) -> Iterator[None]:
        """Within, passes use the prior of the task, and only trained parts get gradients."""
        trained = self.trained_ids()
        frozen = [p for p in self.parameters() if p.requires_grad and id(p) not in trained]
        for parameter in frozen:
            parameter.requires_grad_(False)
        try:
            with self.model.use_prior(self.prior):
                yield
        finally:
            for parameter in frozen:
                parameter.requires_grad_(True)

    def set_step(self, step: int) -> None:
        """Updates the schedules to a training step, counted from 0 in each stage."""
        for schedule in self.schedules:
            schedule.set_step(step)

    @torch.no_grad()
    def initialise(self, batch: Batch) -> None:
        """Lets the parts that are trained set weights from the first batch of a stage."""
        for part in self.initialised_parts:
            part.initialise(self.model, batch)

    @torch.no_grad()
    def after_step(self, result: StepResult) -> None:
        """Lets the parts that are trained adapt themselves after a training step."""
        for part in self.adapting_parts:
            part.after_step(result)

    @property
    def weights(self) -> dict[str, float | Tensor]:
        """The weights of the regularizers at this training step, by name."""
        return {name: penalty.current_weight for name, penalty in self.named_regularizers()}

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
            The loss of each example ``[B]`` in nats; and the terms to log: ``distortion`` and
            ``rate`` as far as they are defined, and each penalty before weighting.
        """
        trace = self.objective.trace(self.model, batch)
        loss = self.objective(trace)
        terms = {}
        for name, penalty in self.named_regularizers():
            value = penalty(trace)
            weight = penalty.current_weight
            loss = (
                loss + weight * value
                if isinstance(weight, Tensor)
                else torch.add(loss, value, alpha=weight)
            )
            terms[name] = value
        distortion = {} if trace.px is None else {"distortion": trace.mean_distortion}
        rate = {"rate": trace.mean_rate} if trace.has_rate and self.has_rate else {}
        return loss, {**distortion, **rate, **terms}

    def phases(self) -> Sequence[Phase]:
        """The phase of the model, then those of the parts that are trained; names are unique."""
        phases = {"model": Phase("model", self, lambda model, batch: self(batch))}
        for owner in self.phase_owners:
            for phase in owner.phases():
                name = unique_name(phase.name, phases)
                phases[name] = replace(phase, name=name)
        return tuple(phases.values())

    def parameters_of(self, phase: Phase) -> list[nn.Parameter]:
        """The parameters that a phase may change.

        These are the trainable parameters of its module that belong to trained parts; for the
        phase of the model, without those of other phases.
        """
        ids = self.trained_ids()
        if phase.module is self:
            others = [other.module for other in self.phases() if other.module is not self]
            ids -= {id(parameter) for module in others for parameter in module.parameters()}
        own = [parameter for parameter in phase.module.parameters() if id(parameter) in ids]
        return [parameter for parameter in own if parameter.requires_grad]


def unique_name(name: str, used_names: Mapping[str, Any]) -> str:
    """Returns ``name``, or ``name-2``, ``name-3`` and so on if it is used already."""
    count = 1
    while (candidate := name if count == 1 else f"{name}-{count}") in used_names:
        count += 1
    return candidate
