"""Parts of a model by the names that specs use, and the weights that phases train."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import nn

from vaezoo.model.model import Model
from vaezoo.model.parts import Posterior, Prior
from vaezoo.model.phase import Phase
from vaezoo.model.task import Task
from vaezoo.spec.spec import Spec
from vaezoo.spec.stage import Stage
from vaezoo.utils.errors import did_you_mean


def find_parts(spec: Spec, model: Model, names: Sequence[str], path: str) -> tuple[str, ...]:
    """The submodules of a model that specs call by name.

    Args:
        spec: the spec, for messages.
        model: the model.
        names: ``encoder``, ``posterior``, ``prior``, ``latents``, ``decoder``, ``likelihood``,
            ``condition``, ``samplers``, or the path of a submodule, such as ``latents.codebook``.
        path: where the names are in the spec, for messages.

    Returns:
        The paths of the submodules.

    Raises:
        SpecError: there is no such part.
    """
    submodules = {name for name, _ in model.named_modules()} - {""}
    groups = {
        "encoder": ["encoder", "into_encoder"],
        "decoder": ["decoder", "into_decoder"],
        "condition": ["conditioner"],
        "prior": [f"latents.{name}" for name in _outermost(model.latents, Prior)],
        "posterior": [f"latents.{name}" for name in _outermost(model.latents, Posterior)],
    }
    paths: list[str] = []
    for index, name in enumerate(names):
        own = [part for part in groups.get(name, [name]) if part in submodules]
        if not own:
            existing = {group for group, parts in groups.items() if submodules & {*parts}}
            known = existing | {part for part in submodules if part.count(".") < 2}
            message = f"the model has no part named {name!r}{did_you_mean(name, known)}"
            raise spec.problem(f"{path}.{index}", message)
        paths += own
    return tuple(dict.fromkeys(paths))


def _outermost(module: nn.Module, cls: type[nn.Module]) -> list[str]:
    """The paths of the submodules of a class that lie in no other of that class."""
    paths = [name for name, part in module.named_modules() if isinstance(part, cls)]
    return [
        path
        for path in paths
        if not any(path.startswith(f"{other}.") for other in paths if other != path)
    ]


def check_phases(spec: Spec, stage: Stage, task: Task) -> None:
    """Checks that every phase of a stage has weights, and that no weight belongs to two.

    Raises:
        SpecError: a phase has none, or shares one with another.
    """
    for owner in task.phase_owners:
        phases = owner.phases()
        if not (isinstance(phases, Sequence) and all(isinstance(p, Phase) for p in phases)):
            message = "phases() must return a sequence of vaezoo.Phase"
            raise spec.problem(path_of(spec, stage, task, owner), message)
    owners: dict[int, str] = {}
    for path, phase in _phases_with_paths(spec, stage, task):
        weights = task.parameters_of(phase)
        if not weights:
            message = "this stage has no weights to train"
            if phase.module is not task:
                message = (
                    f"phase {phase.name!r} has no weights to train: its module has none, or is no "
                    "submodule of the component"
                )
            raise spec.problem(path, message)
        if phase.every < 1 or phase.moves < 1 or phase.start < 0:
            message = f"phase {phase.name!r}: every and moves are at least 1, start at least 0"
            raise spec.problem(path, message)
        for weight in weights:
            other = owners.setdefault(id(weight), phase.name)
            if other != phase.name:
                message = f"phases {other!r} and {phase.name!r} train the same weights"
                raise spec.problem(path, message)


def _phases_with_paths(spec: Spec, stage: Stage, task: Task) -> Iterator[tuple[str, Phase]]:
    """The phases of a task, each with the path in the spec of the component that owns it."""
    first, *others = task.phases()
    paths = [
        path_of(spec, stage, task, owner) for owner in task.phase_owners for _ in owner.phases()
    ]
    yield from zip(paths, others, strict=True)
    yield f"{stage.path}.parts" if stage.parts else stage.path or "model", first


def path_of(spec: Spec, stage: Stage, task: Task, owner: nn.Module) -> str:
    """The path in the spec of the component that a module is, or is a part of."""
    name = next(name for name, module in task.named_modules() if module is owner)
    root, _, rest = name.partition(".")
    part = rest.partition(".")[0]
    if root == "objective":
        return stage.objective.path
    if root == "regularizers":
        return stage.regularizers[list(task.regularizers).index(part)].path
    if part == "samplers":
        return ".".join(rest.split(".")[:2])
    kinds = ((Posterior, "posterior"), (Prior, "prior"))
    role = next((kind for cls, kind in kinds if isinstance(owner, cls)), part)
    return f"model.{role}" if hasattr(spec.model, role) else "model.condition"
