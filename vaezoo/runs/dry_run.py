"""A rehearsal: compose a spec and train one batch, without writing anything."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch

from vaezoo.data.batch import Batch
from vaezoo.model.task import Task
from vaezoo.runs.setup import prepare
from vaezoo.spec.dump import dump
from vaezoo.spec.spec import Spec
from vaezoo.training.phase_optimizer import PhaseOptimizer
from vaezoo.training.process_group import ProcessGroup
from vaezoo.utils.devices import pick_device
from vaezoo.utils.errors import TrainingError
from vaezoo.utils.seeds import seeded


@dataclass(frozen=True)
class Part:
    """One part of a model: the component, the shape of what it gives for a batch, its parameters."""

    part: str
    component: str
    output: str
    parameters: int


@dataclass(frozen=True)
class DryRunReport:
    """What a dry run found."""

    spec: Spec
    parts: tuple[Part, ...]
    losses: dict[str, dict[str, float]]

    def as_json(self) -> dict[str, Any]:
        """The same as JSON."""
        return {
            "spec": self.spec.resolved(),
            "parts": [vars(part) for part in self.parts],
            "losses": self.losses,
        }

    def as_text(self) -> str:
        """The resolved spec, a table of shapes and parameters, and the losses of one batch."""
        rows = [("part", "component", "output", "parameters")]
        rows += [(part.part, part.component, part.output, f"{part.parameters:,}") for part in self.parts]
        rows.append(("total", "", "", f"{sum(part.parameters for part in self.parts):,}"))
        widths = [max(len(row[i]) for row in rows) for i in range(4)]
        table = [
            "  ".join(
                cell.rjust(w) if i == 3 else cell.ljust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
            )
            for row in rows
        ]
        losses = [
            f"{name}: " + ", ".join(f"{key} {value:.3f}" for key, value in terms.items())
            for name, terms in self.losses.items()
        ]
        return "\n".join([dump(self.spec.resolved()), *table, "", "one batch, in nats per example", *losses])


def dry_run(spec: Spec) -> DryRunReport:
    """Composes a spec and lets every player train on one batch.

    Raises:
        SpecError: parts do not fit together.
        TrainingError: a weight gets no gradient, or a loss is not finite.
    """
    device = pick_device(spec.train.device)
    with seeded(device, spec.seed, "dry run"):
        _, train, task = prepare(spec, device)
        batch = next(train.epoch(0))
        parts = _parts(spec, task, batch)
        losses = {}
        for phase in task.phases():
            phase_optimizer = PhaseOptimizer(phase, phase.loss, task, spec, 1, ProcessGroup())
            losses[phase.name] = _move(phase_optimizer, batch)
            _check(task, phase_optimizer, losses[phase.name])
    return DryRunReport(spec, parts, losses)


def _move(phase_optimizer: PhaseOptimizer, batch: Batch) -> dict[str, float]:
    try:
        told = phase_optimizer.move(batch, len(batch), want_norm=True)
    except (RuntimeError, ValueError) as error:
        raise TrainingError(f"{phase_optimizer.name}: first batch: {' '.join(str(error).split())}") from error
    return {name: float(values.mean()) for name, values in told.items()}


def _check(task: Task, phase_optimizer: PhaseOptimizer, terms: dict[str, float]) -> None:
    for name, value in terms.items():
        if not math.isfinite(value):
            raise TrainingError(f"{phase_optimizer.name}: {name} is {value} on the first batch")
    unmoved = {id(parameter) for parameter in phase_optimizer.parameters if parameter.grad is None}
    idle = [name for name, parameter in task.named_parameters() if id(parameter) in unmoved]
    if idle:
        raise TrainingError(f"{phase_optimizer.name}: no gradient reaches {', '.join(idle)}")


def _count(module: torch.nn.Module | None) -> int:
    return sum(parameter.numel() for parameter in module.parameters()) if module is not None else 0


def _parts(spec: Spec, task: Task, batch: Batch) -> tuple[Part, ...]:
    """Shapes as one batch takes them through the model."""
    model, named = task.model, spec.model
    with torch.no_grad():
        context = model.context(batch.condition, len(batch))
        features = model.features(batch, context)
        sites, code = model.infer(features, context, batch.mask, task.objective.num_samples)
        px = model.likelihood_of(code, context)

    def shape(tensor: torch.Tensor) -> str:
        return " x ".join(map(str, tensor.shape))

    parts = [Part("data", spec.data.name, shape(batch.x), 0)]
    if named.condition is not None and context is not None:
        parts.append(Part("condition", named.condition.name, shape(context), _count(model.conditioner)))
    parts += [
        Part("encoder", named.encoder.name, ", ".join(map(shape, features)), _count(model.encoder)),
        Part("latents", named.latents.name, ", ".join(shape(site.z) for site in sites), _count(model.latents)),
        Part("decoder", named.decoder.name, shape(px.mean), _count(model.decoder)),
        Part("likelihood", named.likelihood.name, shape(px.mean), _count(model.likelihood)),
    ]
    for bound, penalty in zip(spec.regularizers, task.regularizers.values(), strict=True):
        parts.append(Part("regularizer", bound.name, "", _count(penalty)))
    return tuple(parts)
