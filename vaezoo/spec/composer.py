"""Builds the training task of a spec; with the model builder the only code that connects
components."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from contextlib import nullcontext

import torch
from torch import Tensor

from vaezoo.data.dataspec import DataSpec
from vaezoo.model.latent_variable_model import OWN_PRIOR
from vaezoo.model.model import Model
from vaezoo.model.objectives import Regularizer
from vaezoo.model.task import Task, unique_name
from vaezoo.model.trace import Site
from vaezoo.model.wiring import TaskWiring
from vaezoo.spec import checks, data_checks, task_checks
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
        ...     "spec": "vaezoo/v2",
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
    """The task of each stage of a spec, in their order; they share one model.

    Args:
        spec, data, train_size: as for ``compose``.

    Raises:
        SpecError: components do not fit together.
    """
    data_checks.check_data(spec, data)
    with seeded(torch.device("cpu"), spec.seed, "weights"):
        builder = ModelBuilder(spec, data, train_size)
        model, context = builder.model()
        sites = _probe_priors(spec, builder, model)
        trained = _parameters_of(model, _loaded_parts(spec, model))
        tasks: list[Task] = []
        for stage in spec.stages:
            stage_sites = sites[stage.sampler or OWN_PRIOR]
            task = _StageBuilder(builder, model, context, stage).task(stage_sites, trained)
            trained |= {id(p) for phase in task.phases() for p in task.parameters_of(phase)}
            tasks.append(task)
    return tuple(tasks)


def _probe_priors(spec: Spec, builder: ModelBuilder, model: Model) -> dict[str, tuple[Site, ...]]:
    """Checks one pass with each prior, and the metrics for the model's own.

    Returns:
        The latent variables of two examples of zeros, by the name of the prior.
    """
    sites: dict[str, tuple[Site, ...]] = {}
    for name in (OWN_PRIOR, *spec.samplers):
        # a sampler does not move the random stream, so that it changes no initial weights
        stream = nullcontext() if name == OWN_PRIOR else seeded(torch.device("cpu"))
        with stream, model.use_prior(name):
            trace = builder.infer(model)
        checks.check_sites(spec, model, trace.sites)
        model.densities[name], sites[name] = trace.density, trace.sites
    checks.check_density(spec, spec.evaluate, sites[OWN_PRIOR])
    return sites


def _loaded_parts(spec: Spec, model: Model) -> set[str]:
    """The submodules whose weights ``init`` loads."""
    names: set[str] = set()
    for index, item in enumerate(spec.init):
        parts = item.parts or model.own_parts
        names |= {*find_parts(spec, model, parts, f"init.{index}.parts")}
    return names


def _parameters_of(model: Model, names: Iterable[str]) -> set[int]:
    return {id(p) for name in names for p in model.get_submodule(name).parameters()}


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

    def task(self, sites: tuple[Site, ...], trained: Set[int]) -> Task:
        """The task of the stage.

        Args:
            sites: the latent variables of one pass with the prior of the stage.
            trained: the ids of the parameters that were trained or loaded before.
        """
        stage, builder = self.stage, self.builder
        parts = None
        if stage.parts is not None:
            parts = find_parts(self.spec, self.model, stage.parts, f"{stage.path}.parts")
        prior = stage.sampler or OWN_PRIOR
        checks.check_density(self.spec, (stage.objective, *stage.regularizers), sites)
        wiring = builder.wiring(TaskWiring, self.context, spaces=self.model.spaces)
        regularizers = self.regularizers(wiring)
        objective = builder.build(stage.objective, wiring)
        if objective.rescales_gradients and regularizers:
            message = (
                f"{stage.objective.name!r} rescales the gradients of latents and cannot be "
                "combined with regularizers; write regularizers: []"
            )
            raise self.spec.problem(stage.objective.path, message)
        task = Task(
            self.model,
            objective,
            regularizers,
            parts=parts,
            prior=prior,
            has_rate=parts is None or bool(stage.sampler) or self.has_rate(parts, trained),
        )
        checks.check_selection(self.spec, stage, task, self.model.densities[prior])
        check_phases(self.spec, stage, task)
        task_checks.check_accumulation(self.spec, stage, task)
        task_checks.check_path_gradients(self.spec, stage, task)
        return task

    def has_rate(self, parts: Sequence[str], trained: Set[int]) -> bool:
        """Whether the rate means something: the prior is constant, trained, or in the loss."""
        loss = [self.stage.objective, *self.stage.regularizers]
        uses = ("loss_includes_rate", "penalizes_rate")
        if any(getattr(component.cls, name, False) for component in loss for name in uses):
            return True
        weights = {id(p) for prior, _ in self.builder.priors for p in prior.parameters()}
        return not weights or bool(weights & (trained | _parameters_of(self.model, parts)))

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
