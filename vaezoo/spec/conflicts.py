"""Finds blocks of a spec that contradict each other, before anything is built."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn

from vaezoo.model.latent_variable_model import NO_PRIOR, OWN_PRIOR
from vaezoo.model.parts import Prior
from vaezoo.spec import torch_names
from vaezoo.spec.spec import Spec
from vaezoo.spec.stage import Stage
from vaezoo.spec.tree import path_steps
from vaezoo.utils.errors import Problem, did_you_mean


def find_conflicts(spec: Spec) -> list[Problem]:
    """Every contradiction between blocks of a spec."""
    stages = [
        problem for stage in spec.stages for problem in (*_stage(spec, stage), *_rate(stage))
    ]
    return [*_names(spec), *stages, *_samplers(spec)]


def _at(spec: Spec, path: str, message: str) -> Problem:
    return spec.tree.locate(path_steps(path)).problem(path, message)


def _names(spec: Spec) -> Iterator[Problem]:
    """Duplicate names of stages."""
    names: set[str] = set()
    for stage in spec.stages:
        if stage.name in names:
            yield _at(spec, f"{stage.path}.name", f"two stages are named {stage.name!r}")
        names.add(stage.name)


def _stage(spec: Spec, stage: Stage) -> Iterator[Problem]:
    """Contradictions in the options of one stage."""
    block = spec.tree.find(path_steps(stage.path)).plain() if stage.path else {}
    if stage.index == 0 and "from" in block:
        message = "the first stage has no stage before it; use init for weights to begin with"
        yield _at(spec, f"{stage.path}.from", message)
    train = stage.train
    if (train.epochs is None) == (train.steps is None):
        both = ", not both" if train.epochs else ""
        yield _at(spec, stage.path or "train", f"give `epochs` or `steps`{both}")
    if (error := torch_names.warmup_error(train)) is not None:
        yield _at(spec, stage.path_of("warmup"), error)
    if stage.sampler is not None and stage.sampler not in spec.samplers:
        hint = did_you_mean(stage.sampler, spec.samplers) or "; list it under samplers"
        yield _at(spec, f"{stage.path}.sampler", f"no sampler named {stage.sampler!r}{hint}")
    elif stage.sampler is not None and not stage.trains_sampler(stage.sampler):
        message = f"no part of sampler {stage.sampler!r} is trained; add samplers.{stage.sampler}"
        yield _at(spec, f"{stage.path}.parts", message)


def _rate(stage: Stage) -> Iterator[Problem]:
    """Penalties of a rate that the objective includes already."""
    objective: Any = stage.objective.cls
    for component in stage.regularizers:
        regularizer: Any = component.cls
        if objective.loss_includes_rate and regularizer.penalizes_rate:
            message = (
                f"objective {stage.objective.name!r} already includes the rate; "
                f"remove regularizer {component.name!r}"
            )
            yield component.mark.problem(component.path, message)


def _samplers(spec: Spec) -> Iterator[Problem]:
    """Samplers that are neither fitted nor trained, or have a name of another prior."""
    for name, sampler in spec.samplers.items():
        prior: Any = sampler.cls
        # names of submodules have no dots and are not attributes of nn.ModuleDict
        if name in (OWN_PRIOR, NO_PRIOR) or "." in name or hasattr(nn.ModuleDict, name):
            message = f"{name!r} is not a name for a sampler"
            yield sampler.mark.problem(sampler.path, message)
        elif prior.fit is Prior.fit and not any(s.trains_sampler(name) for s in spec.stages):
            message = (
                f"prior {sampler.name!r} cannot be fitted to codes; train it in a stage with "
                f"sampler: {name}"
            )
            yield sampler.mark.problem(sampler.path, message)
