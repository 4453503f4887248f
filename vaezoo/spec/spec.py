"""The validated spec: what to train, on which data, and how."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from vaezoo.model.defaults import Version
from vaezoo.model.fusion import FusionMode
from vaezoo.spec.options import ComponentSpec
from vaezoo.spec.schema import InitSpec, ModelSpec, TrainSpec
from vaezoo.spec.stage import Stage
from vaezoo.spec.tree import Node, path_steps
from vaezoo.utils.errors import SpecError


@dataclass(frozen=True, kw_only=True)
class Spec:
    """A validated spec; ``vaezoo.load_spec`` reads one.

    Attributes:
        version: of the format: ``vaezoo/v1`` or ``vaezoo/v2``, which decides some defaults.
        name, seed, requires: as in the file.
        data, model, objective, train, evaluate: the blocks of the spec; components are
            ``ComponentSpec``.
        samplers: the priors that may replace that of the latents after training, by name.
        init: the weights to begin training with.
        regularizers: as in the file; by default ``kl``, unless the objective already includes the
            rate.
        stages: the stages of training, at least one. A stage without an objective has that of the
            spec and, unless it lists its own, its regularizers. One with an objective has the
            regularizers that it lists, or the default of that objective.
        into: the parts of the model that take the condition as input: ``encoder``, ``prior``,
            ``decoder``.
        fuse: how the condition joins the inputs of encoder and decoder: ``concat`` or ``film``.
        tree: the YAML after ``extends``, overrides and variables, with positions.

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
        >>> spec.model.latent_dim, spec.model.encoder.name, spec.model.encoder.options["hidden"]
        (2, 'mlp', [32])
        >>> spec.resolved()["regularizers"]
        [{'type': 'kl', 'weight': 1.0}]
    """

    version: Version
    name: str
    seed: int
    requires: tuple[str, ...]
    data: ComponentSpec
    model: ModelSpec
    samplers: Mapping[str, ComponentSpec]
    init: tuple[InitSpec, ...]
    objective: ComponentSpec
    regularizers: tuple[ComponentSpec, ...]
    train: TrainSpec
    stages: tuple[Stage, ...]
    evaluate: tuple[ComponentSpec, ...]
    into: frozenset[str]
    fuse: FusionMode
    tree: Node

    def problem(self, path: str, message: str) -> SpecError:
        """An error at a path of the spec, for the caller to raise.

        Args:
            path: such as ``model.likelihood``.
            message: what is wrong and what to do.

        Example:
            >>> import vaezoo
            >>> spec = vaezoo.load_spec('''
            ... spec: vaezoo/v2
            ... name: tiny
            ... data: digits
            ... model: {latent_dim: 2, encoder: mlp, decoder: mlp, likelihood: bernoulli}
            ... ''', text=True)
            >>> print(spec.problem("model.latent_dim", "too small"))
            <text>:5:9: model.latent_dim: too small
        """
        return SpecError([self.tree.locate(path_steps(path)).problem(path, message)])

    def resolved(self) -> dict[str, Any]:
        """The complete spec with all defaults, so that later changes of defaults do not affect it.

        Example:
            >>> import vaezoo
            >>> spec = vaezoo.load_spec('''
            ... spec: vaezoo/v2
            ... name: tiny
            ... data: digits
            ... model: {latent_dim: 2, encoder: mlp, decoder: mlp, likelihood: bernoulli}
            ... ''', text=True)
            >>> spec.resolved()["objective"]
            {'type': 'reconstruction', 'samples': 1}
        """
        model = {
            key: value.resolved() if isinstance(value, ComponentSpec) else value
            for key, value in ((key, getattr(self.model, key)) for key in ModelSpec.model_fields)
            if value is not None
        }
        if self.model.condition is not None:
            model["condition"] |= {"into": sorted(self.into), "fuse": self.fuse}
        train = self.train.model_dump(exclude_none=True)
        train["callbacks"] = [callback.resolved() for callback in self.train.callbacks]
        samplers = {name: sampler.resolved() for name, sampler in self.samplers.items()}
        init = [item.model_dump(by_alias=True, exclude_defaults=True) for item in self.init]
        stages = [stage.resolved(self.train) for stage in self.stages if stage.name]
        return {
            "spec": self.version,
            "name": self.name,
            "seed": self.seed,
            "requires": list(self.requires),
            "data": self.data.resolved(),
            "model": model,
            **({"samplers": samplers} if samplers else {}),
            **({"init": init} if init else {}),
            "objective": self.objective.resolved(),
            "regularizers": [regularizer.resolved() for regularizer in self.regularizers],
            "train": train,
            **({"stages": stages} if stages else {}),
            "evaluate": [metric.resolved() for metric in self.evaluate],
        }


def components(spec: Spec) -> Iterator[ComponentSpec]:
    """Every component of a spec, each before those that are nested in it."""
    for stage in spec.stages:
        yield from _components([stage.objective, stage.regularizers])
    blocks = (spec.data, spec.model, spec.samplers, spec.objective, spec.regularizers)
    yield from _components([*blocks, spec.train, spec.evaluate])


def _components(value: Any) -> Iterator[ComponentSpec]:
    """The components in a block, a list or a mapping, with those that are nested in them."""
    if isinstance(value, ComponentSpec):
        yield value
        yield from _components(value.options)
    elif isinstance(value, BaseModel):
        yield from _components(dict(value))
    elif isinstance(value, Mapping):
        yield from _components(list(value.values()))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _components(item)
