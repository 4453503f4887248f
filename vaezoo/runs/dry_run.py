"""Composes a spec and trains each phase on two batches, without writing anything."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from vaezoo.data.batch import Batch
from vaezoo.data.dataset import Split
from vaezoo.data.loader import Loader
from vaezoo.data.sizes import count_examples, describe_examples
from vaezoo.evaluation.validation import validate
from vaezoo.model.component import StepResult
from vaezoo.model.task import Task
from vaezoo.runs.init import describe_init, load_init
from vaezoo.runs.loaders import build_loader
from vaezoo.runs.setup import prepare_training
from vaezoo.spec.dump import dump
from vaezoo.spec.spec import Spec
from vaezoo.spec.stage import Stage
from vaezoo.training.batch_parts import describe_step_error
from vaezoo.training.divergence import BEFORE_TRAINING
from vaezoo.training.phase_optimizer import PhaseOptimizer
from vaezoo.utils.devices import pick_device
from vaezoo.utils.errors import TrainingError, VaezooError, printable
from vaezoo.utils.process_group import ProcessGroup
from vaezoo.utils.seeds import seeded

_FIRST = "first batch"


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
        examples: the number of examples of each split, and what was left out.
        source: what the data set found in its source: headings and rows, or nothing.
        parts: one row per part of the model.
        losses: for each training phase, its loss and metrics on one batch, in nats per example;
            the names of phases begin with that of their stage, if there are several.
        init: what training begins with: a line for each item of the spec.
    """

    spec: Spec
    examples: Mapping[str, Any]
    source: tuple[tuple[str, ...], ...]
    parts: tuple[PartSummary, ...]
    losses: dict[str, dict[str, float]]
    init: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {
            "spec": self.spec.resolved(),
            "examples": self.examples,
            "source": self.source,
            "parts": [vars(part) for part in self.parts],
            "losses": self.losses,
            "init": self.init,
        }

    def as_text(self) -> str:
        """The resolved spec, a table of shapes and parameters, and the losses of one batch."""
        losses = [
            f"{name}: " + ", ".join(f"{key} {value:.3f}" for key, value in terms.items())
            for name, terms in self.losses.items()
        ]
        heading = "one batch, in nats per example"
        data = f"data: {describe_examples(self.examples)}"
        examples = "\n".join([data, *self.init, ""])
        source = [*_aligned(self.source), ""] if self.source else []
        resolved = dump(self.spec.resolved())
        return "\n".join([resolved, examples, *source, *self._table(), "", heading, *losses])

    def _table(self) -> list[str]:
        rows = [("part", "component", "output", "parameters")]
        rows += [
            (part.part, part.component, part.output, f"{part.parameters:,}") for part in self.parts
        ]
        rows.append(("total", "", "", f"{sum(part.parameters for part in self.parts):,}"))
        widest = max(len(row[-1]) for row in rows)
        return _aligned([(*row[:-1], row[-1].rjust(widest)) for row in rows])


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table, with columns of one width each."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def dry_run(spec: Spec) -> DryRunReport:
    """Composes a spec, and trains every phase on the first and the last batch of an epoch.

    The last batch may be smaller. A batch of the validation split is measured, too.

    Args:
        spec: the spec to check.

    Raises:
        SpecError: the parts of the model do not fit together.
        DataError: the data cannot be read, or the training split is too small.
        TrainingError: a parameter gets no gradient, or a loss is not finite.
    """
    device = pick_device(spec.train.device)
    with seeded(device, spec.seed, "dry run"):
        dataset, train, tasks = prepare_training(spec, device)
        held_out = build_loader(spec, dataset, "validation", device)
        split, examples = held_out.split, count_examples(dataset, train, held_out)
        batch, last = next(train.epoch(0)), _smaller_last_batch(train)
        validation, fewest = _first_examples(split, train), train.fewest_examples
        init = describe_init(load_init(spec, tasks[0].model))
        with _named("a pass", _FIRST):
            parts = _summarize_parts(spec, tasks[0], batch)
        losses: dict[str, dict[str, float]] = {}
        for stage, task in zip(spec.stages, tasks, strict=True):
            prefix = f"{stage.name}/" if stage.name else ""
            task.train()
            with _named(f"{prefix}initialise", _FIRST), task.active():
                task.initialise(batch)
            trained = _train_phases(stage, task, batch, prefix, fewest=fewest)
            losses |= {f"{prefix}{name}": terms for name, terms in trained.items()}
            if last is not None:
                _train_phases(stage, task, last, prefix, fewest=fewest, full_size=len(batch))
            _validate(task, validation, prefix)
    source = tuple(tuple(map(printable, row)) for row in dataset.table)
    return DryRunReport(spec, examples, source, parts, losses, tuple(init))


def _smaller_last_batch(train: Loader) -> Batch | None:
    """The last training batch of an epoch, if it has fewer examples than the others."""
    steps = train.steps_per_epoch
    is_smaller = steps > 1 and steps * train.batch_size > len(train)
    return next(train.epoch(0, steps - 1)) if is_smaller else None


def _first_examples(split: Split, train: Loader) -> Loader:
    """The first examples of a split, as many as there are in a training batch."""
    first = split.select(torch.arange(min(len(split), train.batch_size)))
    return Loader(first, train.device, train.batch_size)


def _train_phases(
    stage: Stage,
    task: Task,
    batch: Batch,
    prefix: str,
    *,
    fewest: int,
    full_size: int | None = None,
) -> dict[str, dict[str, float]]:
    """Takes one training step of a stage and returns the losses and metrics of its phases.

    Args:
        stage: the stage.
        task: its task.
        batch: the examples.
        prefix: of the names of phases in messages.
        fewest: the fewest examples of a part of the batch.
        full_size: for a smaller last batch, the size of the others; None for the first batch.
    """
    is_first = full_size is None
    where = _FIRST if is_first else f"last batch, which has {len(batch)} of {full_size} examples"
    losses: dict[str, dict[str, float]] = {}
    task.train()
    with task.active():
        for index, phase in enumerate(task.phases()):
            name = f"{prefix}{phase.name}"
            with _named(f"phase {name!r}", where):
                phase_optimizer = PhaseOptimizer(
                    phase, task=task, config=stage.train, total_steps=1, fewest_examples=fewest
                )
                terms = phase_optimizer.step(batch, len(batch), measure_norm=True)
            losses[phase.name] = {key: float(values.mean()) for key, values in terms.items()}
            is_before = is_first and stage.index == index == 0 and phase.moves == 1
            _check_finite(losses[phase.name], f"phase {name!r}", where, is_before=is_before)
            if is_first:  # a small batch may lack what a part needs, such as labels
                _check_gradients(task, phase_optimizer, name)
        with _named(f"{prefix}after_step", where):
            task.after_step(_first_step(task, losses))
    return losses


def _validate(task: Task, examples: Loader, prefix: str) -> None:
    """Measures a stage on validation examples, as training does after an epoch."""
    what = f"{prefix}validation"
    with task.active(), _named(what, _FIRST):
        metrics = validate(task, examples)
    _check_finite(metrics, what, _FIRST)


def _first_step(task: Task, losses: dict[str, dict[str, float]]) -> StepResult:
    """The result of a first training step, with the names of terms that records have."""
    terms = {
        name if phase == "model" else f"{phase}/{name}": torch.tensor(value)
        for phase, values in losses.items()
        for name, value in values.items()
    }
    return StepResult(step=0, model=task.model, processes=ProcessGroup(), read_terms=lambda: terms)


@contextmanager
def _named(what: str, where: str) -> Iterator[None]:
    """Turns errors of components into ones that name what failed, and on which batch."""
    try:
        yield
    except VaezooError:
        raise
    except Exception as error:
        message = f"{what} failed on the {where}: {describe_step_error(error)}"
        raise TrainingError(message) from error


def _check_finite(
    metrics: Mapping[str, float], what: str, where: str, *, is_before: bool = False
) -> None:
    """Raises TrainingError if a metric is not finite.

    Args:
        metrics: by name.
        what: names the phase.
        where: names the batch.
        is_before: whether no weight had changed yet.
    """
    for term, value in metrics.items():
        if not math.isfinite(value):
            advice = f"; {BEFORE_TRAINING}" if is_before else ""
            raise TrainingError(f"{what}: {term} is {value} on the {where}{advice}")


def _check_gradients(task: Task, phase_optimizer: PhaseOptimizer, name: str) -> None:
    """Raises TrainingError if a parameter has no gradient."""
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
