"""Composes a spec and trains each phase on one batch, without writing anything."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from vaezoo.data.batch import Batch
from vaezoo.model.task import Task
from vaezoo.runs.init import load_init
from vaezoo.runs.setup import prepare_training
from vaezoo.spec.dump import dump
from vaezoo.spec.spec import Spec
from vaezoo.spec.stage import Stage
from vaezoo.training.phase_optimizer import PhaseOptimizer
from vaezoo.utils.devices import pick_device
from vaezoo.utils.errors import TrainingError, one_line
from vaezoo.utils.seeds import seeded


@dataclass(frozen=True)
class PartSummary:
    """One row of the table of a dry run.

    Attributes:
        part: the role in the model, such as ``encoder``.
        component: the name of the component.
        output: the shape of its output for one batch, such as ``128 x 16``.
        parameters: the number of its parameters.
    """

    part: str
    component: str
    output: str
    parameters: int


@dataclass(frozen=True)
class DryRunReport:
    """The result of a dry run.

    Attributes:
        spec: the spec.
        parts: one row per part of the model.
        losses: for each training phase, its loss and metrics on one batch, in nats per example;
            the names of phases begin with that of their stage, if there are several.
    """

    spec: Spec
    parts: tuple[PartSummary, ...]
    losses: dict[str, dict[str, float]]

    def as_json(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {
            "spec": self.spec.resolved(),
            "parts": [vars(part) for part in self.parts],
            "losses": self.losses,
        }

    def as_text(self) -> str:
        """The resolved spec, a table of shapes and parameters, and the losses of one batch."""
        losses = [
            f"{name}: " + ", ".join(f"{key} {value:.3f}" for key, value in terms.items())
            for name, terms in self.losses.items()
        ]
        heading = "one batch, in nats per example"
        return "\n".join([dump(self.spec.resolved()), *self._table(), "", heading, *losses])

    def _table(self) -> list[str]:
        rows = [("part", "component", "output", "parameters")]
        rows += [
            (part.part, part.component, part.output, f"{part.parameters:,}") for part in self.parts
        ]
        rows.append(("total", "", "", f"{sum(part.parameters for part in self.parts):,}"))
        widths = [max(len(row[i]) for row in rows) for i in range(4)]
        return [
            "  ".join([*(row[i].ljust(widths[i]) for i in range(3)), row[3].rjust(widths[3])])
            for row in rows
        ]


def dry_run(spec: Spec) -> DryRunReport:
    """Composes a spec and trains every phase on one batch.

    Args:
        spec: the spec to check.

    Raises:
        SpecError: the parts of the model do not fit together.
        TrainingError: a parameter gets no gradient, or a loss is not finite.
    """
    device = pick_device(spec.train.device)
    with seeded(device, spec.seed, "dry run"):
        _, train, tasks = prepare_training(spec, device)
        batch = next(train.epoch(0))
        load_init(spec, tasks[0].model)
        parts = _summarize_parts(spec, tasks[0], batch)
        losses: dict[str, dict[str, float]] = {}
        for stage, task in zip(spec.stages, tasks, strict=True):
            prefix = f"{stage.name}/" if stage.name else ""
            losses |= {
                f"{prefix}{name}": terms
                for name, terms in _train_phases(stage, task, batch).items()
            }
    return DryRunReport(spec, parts, losses)


def _train_phases(stage: Stage, task: Task, batch: Batch) -> dict[str, dict[str, float]]:
    """Trains every phase of a stage on one batch and returns their losses and metrics."""
    losses = {}
    task.train()
    task.initialise(batch)
    with task.active():
        for phase in task.phases():
            phase_optimizer = PhaseOptimizer(phase, task=task, config=stage.train, total_steps=1)
            losses[phase.name] = _train_one_batch(phase_optimizer, batch)
            _check_phase(task, phase_optimizer, losses[phase.name])
    return losses


def _train_one_batch(phase_optimizer: PhaseOptimizer, batch: Batch) -> dict[str, float]:
    try:
        metrics = phase_optimizer.step(batch, len(batch), measure_norm=True)
    except (RuntimeError, ValueError) as error:
        reason = one_line(error)
        raise TrainingError(
            f"phase {phase_optimizer.name!r} failed on the first batch: {reason}"
        ) from error
    return {name: float(values.mean()) for name, values in metrics.items()}


def _check_phase(task: Task, phase_optimizer: PhaseOptimizer, metrics: dict[str, float]) -> None:
    """Raises TrainingError if a metric is not finite or a parameter has no gradient."""
    for name, value in metrics.items():
        if not math.isfinite(value):
            raise TrainingError(
                f"phase {phase_optimizer.name!r}: {name} is {value} on the first batch"
            )
    without_gradient = {
        id(parameter) for parameter in phase_optimizer.parameters if parameter.grad is None
    }
    names = [
        name for name, parameter in task.named_parameters() if id(parameter) in without_gradient
    ]
    if names:
        raise TrainingError(
            f"phase {phase_optimizer.name!r}: no gradient reaches {', '.join(names)}"
        )


def _count_parameters(module: nn.Module | None) -> int:
    return sum(parameter.numel() for parameter in module.parameters()) if module is not None else 0


def _summarize_parts(spec: Spec, task: Task, batch: Batch) -> tuple[PartSummary, ...]:
    """Passes one batch through the model and summarizes each part."""
    model, names = task.model, spec.model
    with torch.no_grad():
        inference = model.start_inference(batch, task.objective.num_samples)
        features, context = inference.features, inference.context
        trace = model.infer(inference)
        px = model.likelihood_of(trace.code, context)

    def shape(tensor: torch.Tensor) -> str:
        return " x ".join(map(str, tensor.shape))

    def row(part: str, component: str, output: str, module: nn.Module | None) -> PartSummary:
        return PartSummary(part, component, output, _count_parameters(module))

    parts = [row("data", spec.data.name, shape(batch.x), None)]
    if names.condition is not None and context is not None:
        parts.append(row("condition", names.condition.name, shape(context), model.conditioner))
    latents = ", ".join(shape(site.z) for site in trace.sites)
    parts += [
        row("encoder", names.encoder.name, ", ".join(map(shape, features)), model.encoder),
        row("latents", names.latents.name, latents, model.latents),
        row("decoder", names.decoder.name, shape(px.mean), model.decoder),
        row("likelihood", names.likelihood.name, shape(px.mean), model.likelihood),
    ]
    for name, sampler in spec.samplers.items():
        parts.append(row(f"sampler {name}", sampler.name, latents, model.samplers[name]))
    for component, regularizer in zip(
        spec.stages[0].regularizers, task.regularizers.values(), strict=True
    ):
        parts.append(row("regularizer", component.name, "", regularizer))
    return tuple(parts)
