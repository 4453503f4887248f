"""Builds the training task of a spec; with the model builder the only code that connects
components."""

from __future__ import annotations

import torch

from vaezoo.data.dataspec import DataSpec
from vaezoo.model.objectives import Regularizer
from vaezoo.model.task import Task, unique_name
from vaezoo.model.wiring import TaskWiring
from vaezoo.spec import checks
from vaezoo.spec.model_builder import ModelBuilder
from vaezoo.spec.spec import Spec
from vaezoo.utils.seeds import seeded


def compose(spec: Spec, data: DataSpec, train_size: int) -> Task:
    """Builds the model, the objective and the regularizers of a spec.

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
    with seeded(torch.device("cpu"), spec.seed, "weights"):
        return _task(spec, ModelBuilder(spec, data, train_size))


def _task(spec: Spec, builder: ModelBuilder) -> Task:
    """The model with its objective and regularizers."""
    model, context = builder.model()
    trace = builder.infer(model)
    checks.check_sites(spec, model, trace.sites)
    checks.check_density(spec, trace.sites)
    model.density = trace.density
    wiring = builder.wiring(TaskWiring, context, spaces=model.spaces)
    regularizers: dict[str, Regularizer] = {}
    for component in spec.regularizers:
        regularizer = builder.build(component, wiring)
        if not hasattr(regularizer, "weight"):
            message = f"regularizer {component.name!r} must call super().__init__(weight)"
            raise spec.problem(component.path, message)
        regularizers[unique_name(component.name, regularizers)] = regularizer
    objective = builder.build(spec.objective, wiring)
    if objective.rescales_gradients and regularizers:
        message = (
            f"{spec.objective.name!r} rescales the gradients of latents and cannot be "
            "combined with regularizers; write regularizers: []"
        )
        raise spec.problem(spec.objective.path, message)
    return Task(model, objective, regularizers)
