"""Composes a spec and trains each phase on one batch, without writing anything."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from vaezoo.data.batch import Batch
from vaezoo.model.component import StepResult
from vaezoo.model.task import Task
from vaezoo.runs.init import load_init
from vaezoo.runs.setup import prepare_training
from vaezoo.spec.dump import dump
from vaezoo.spec.spec import Spec
from vaezoo.spec.stage import Stage
from vaezoo.training.phase_optimizer import PhaseOptimizer
from vaezoo.utils.devices import pick_device
from vaezoo.utils.errors import TrainingError, VaezooError, describe_error
from vaezoo.utils.process_group import ProcessGroup
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
            trained = _train_phases(stage, task, batch, prefix)
            losses |= {f"{prefix}{name}": terms for name, terms in trained.items()}
    return DryRunReport(spec, parts, losses)


def _train_phases(
    stage: Stage, task: Task, batch: Batch, prefix: str
) -> dict[str, dict[str, float]]:
    """Takes one training step of a stage and returns the losses and metrics of its phases.

    Args:
        stage: the stage.
        task: its task.
        batch: the examples.
        prefix: of the names of phases in messages.
    """
    losses: dict[str, dict[str, float]] = {}
    task.train()
    with task.active():
        with _named(f"{prefix}initialise"):
            task.initialise(batch)
        for phase in task.phases():
            name = f"{prefix}{phase.name}"
            with _named(f"phase {name!r}"):
                phase_optimizer = PhaseOptimizer(
                    phase, task=task, config=stage.train, total_steps=1
                )
                terms = phase_optimizer.step(batch, len(batch), measure_norm=True)
            losses[phase.name] = {key: float(values.mean()) for key, values in terms.items()}
            _check_phase(task, phase_optimizer, name, losses[phase.name])
        with _named(f"{prefix}after_step"):
            task.after_step(_first_step(task, losses))
    return losses


def _first_step(task: Task, losses: dict[str, dict[str, float]]) -> StepResult:
    """The result of a first training step, with the names of terms that records have."""
    terms = {
        name if phase == "model" else f"{phase}/{name}": torch.tensor(value)
        for phase, values in losses.items()
        for name, value in values.items()
    }
    return StepResult(step=0, model=task.model, processes=ProcessGroup(), read_terms=lambda: terms)


@contextmanager
def _named(what: str) -> Iterator[None]:
    """Turns errors of components into ones that name what failed."""
    try:
        yield
    except VaezooError:
        raise
    except Exception as error:
        message = f"{what} failed on the first batch: {describe_error(error)}"
        raise TrainingError(message) from error


def _check_phase(
    task: Task, phase_optimizer: PhaseOptimizer, name: str, metrics: dict[str, float]
) -> None:
    """Raises TrainingError if a metric is not finite or a parameter has no gradient."""
    for term, value in metrics.items():
        if not math.isfinite(value):
            raise TrainingError(f"phase {name!r}: {term} is {value} on the first batch")
    without_gradient = {
        id(parameter) for parameter in phase_optimizer.parameters if parameter.grad is None
    }
    weights = [
        weight
        for weight, parameter in task.named_parameters()
        if id(parameter) in without_gradient
    ]
    if weights:
        raise TrainingError(f"phase {name!r}: no gradient reaches {', '.join(weights)}")


def _count_parameters(module: nn.Module | None) -> int:
    return sum(parameter.numel() for parameter in module.parameters()) if module is not None else 0


def _summarize_parts(spec: Spec, task: Task, batch: Batch) -> tuple[PartSummary, ...]:
    """Passes one batch through the model and summarizes each part."""
    model, names = task.model, spec.model
    with torch.no_grad():
        inference = model.start_inference(batch, task.objective.num_samples)
        features, context = inference.features, inference.context
        trace = model.infer(inference)
        px = model.likelihood_of(trace.code, context, batch.extras)

    def shape(value: Any) -> str:
        if isinstance(value, Mapping):
            return ", ".join(f"{name} {shape(tensor)}" for name, tensor in value.items())
        return " x ".join(map(str, value.shape))

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
