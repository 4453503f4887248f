"""Builds the training task of a spec; with the model builder the only code that connects
components."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vaezoo.data.dataspec import DataSpec
from vaezoo.model.latent_variable_model import NO_PRIOR, OWN_PRIOR
from vaezoo.model.model import Model
from vaezoo.model.objectives import Regularizer
from vaezoo.model.task import Task, unique_name
from vaezoo.model.wiring import TaskWiring
from vaezoo.spec import checks
from vaezoo.spec.model_builder import ModelBuilder
from vaezoo.spec.parts import check_phases, find_parts
from vaezoo.spec.spec import Spec
from vaezoo.spec.stage import Stage
from vaezoo.utils.seeds import seeded


def compose(spec: Spec, data: DataSpec, train_size: int) -> Task:
    """Builds the model, the objective and the regularizers of a spec: those of its last stage.

    The initial weights depend only on the spec, including its seed.

    Args:
        spec: what to build.
        data: the description of one example, such as ``spec.data.build().spec``.
        train_size: the number of training examples.

    Raises:
        SpecError: components do not fit together; the message contains the expected and the
            actual shape.

    Example:
        >>> import vaezoo
        >>> spec = vaezoo.load_spec({
        ...     "spec": "vaezoo/v1",
        ...     "name": "tiny",
        ...     "data": "digits",
        ...     "model": {
        ...         "latent_dim": 2,
        ...         "encoder": {"type": "mlp", "hidden": [32]},
        ...         "decoder": {"type": "mlp", "hidden": [32]},
        ...         "likelihood": "bernoulli",
        ...     },
        ... })
        >>> dataset = spec.data.build()
        >>> task = vaezoo.compose(spec, dataset.spec, train_size=1437)
        >>> task.model.sample(3).shape
        torch.Size([3, 1, 8, 8])
    """
    return compose_stages(spec, data, train_size)[-1]


def compose_stages(spec: Spec, data: DataSpec, train_size: int) -> tuple[Task, ...]:
    """The task of each stage of a spec; they share one model.

    Args, Raises: as for ``compose``.
    """
    with seeded(torch.device("cpu"), spec.seed, "weights"):
        builder = ModelBuilder(spec, data, train_size)
        model, context = builder.model()
        for index, item in enumerate(spec.init):
            find_parts(spec, model, item.parts or (), f"init.{index}.parts")
        tasks: list[Task] = []
        for stage in spec.stages:
            tasks.append(_StageBuilder(builder, model, context, stage).task(tasks))
        _probe_densities(spec, builder, model)
    return tuple(tasks)


def _probe_densities(spec: Spec, builder: ModelBuilder, model: Model) -> None:
    """Finds the density of the latent variables with each prior that no stage has used."""
    for name in {OWN_PRIOR, *spec.samplers} - model.densities.keys():
        with model.use_prior(name):
            model.densities[name] = builder.infer(model).density


class _StageBuilder:
    """Builds the task of one stage.

    Args:
        builder: has built the model.
        model: the model of all stages.
        context: the contexts of two conditions of zeros, or None.
        stage: the stage.
    """

    def __init__(
        self, builder: ModelBuilder, model: Model, context: Tensor | None, stage: Stage
    ) -> None:
        self.builder, self.model, self.context, self.stage = builder, model, context, stage
        self.spec = builder.spec

    def task(self, earlier: Sequence[Task]) -> Task:
        """The task of the stage.

        Args:
            earlier: the tasks of the stages before it.
        """
        stage, builder = self.stage, self.builder
        parts = None
        if stage.parts is not None:
            parts = find_parts(self.spec, self.model, stage.parts, f"{stage.path}.parts")
        prior = stage.sampler or OWN_PRIOR
        if parts is not None and not stage.sampler and not self.needs_prior(parts, earlier):
            prior = NO_PRIOR
        with self.model.use_prior(prior):
            trace = builder.infer(self.model)
            checks.check_sites(self.spec, self.model, trace.sites)
        if prior != NO_PRIOR:
            checks.check_density(self.spec, stage, trace.sites)
            self.model.densities[prior] = trace.density
        wiring = builder.wiring(TaskWiring, self.context, spaces=self.model.spaces)
        regularizers = self.regularizers(wiring)
        objective = builder.build(stage.objective, wiring)
        if objective.rescales_gradients and regularizers:
            message = (
                f"{stage.objective.name!r} rescales the gradients of latents and cannot be "
                "combined with regularizers; write regularizers: []"
            )
            raise self.spec.problem(stage.objective.path, message)
        task = Task(self.model, objective, regularizers, parts=parts, prior=prior)
        checks.check_selection(self.spec, stage, task, trace.density)
        check_phases(self.spec, stage, task)
        return task

    def needs_prior(self, parts: Sequence[str], earlier: Sequence[Task]) -> bool:
        """Whether the rate says something: the prior is constant, trained, or part of the loss."""
        loss = [self.stage.objective, *self.stage.regularizers]
        uses = ("loss_includes_rate", "penalizes_rate")
        if any(getattr(component.cls, name, False) for component in loss for name in uses):
            return True
        weights = {id(p) for prior, _ in self.builder.priors for p in prior.parameters()}
        roots = [self.model.get_submodule(name) for name in parts]
        trained = {id(p) for root in roots for p in root.parameters()}
        for task in earlier:
            trained |= {id(p) for p in task.parameters_of(task.phases()[0])}
        loads_prior = any(
            item.parts is None or {"prior", "latents"} & {*item.parts} for item in self.spec.init
        )
        return not weights or bool(weights & trained) or loads_prior

    def regularizers(self, wiring: TaskWiring) -> dict[str, Regularizer]:
        """The regularizers by the name they are logged under."""
        regularizers: dict[str, Regularizer] = {}
        for component in self.stage.regularizers:
            regularizer = self.builder.build(component, wiring)
            if not hasattr(regularizer, "weight"):
                message = f"regularizer {component.name!r} must call super().__init__(weight)"
                raise self.spec.problem(component.path, message)
            regularizers[unique_name(component.name, regularizers)] = regularizer
        return regularizers
