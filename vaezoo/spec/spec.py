"""A valid spec."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vaezoo.model.fusion import How
from vaezoo.spec.options import ComponentSpec
from vaezoo.spec.schema import ModelSpec, TrainSpec
from vaezoo.spec.tree import Node
from vaezoo.utils.errors import SpecError


@dataclass(frozen=True)
class Spec:
    """A valid spec.

    Attributes:
        name, seed, requires: as written.
        data, model, objective, train, evaluate: the parts; components are ``Bound``.
        regularizers: as written, or the default: ``kl``, unless the objective counts the rate itself.
        into: which parts of the model see the condition.
        fuse: how it joins the inputs of encoder and decoder.
        tree: the resolved YAML with its positions.
    """

    name: str
    seed: int
    requires: tuple[str, ...]
    data: ComponentSpec
    model: ModelSpec
    objective: ComponentSpec
    regularizers: tuple[ComponentSpec, ...]
    train: TrainSpec
    evaluate: tuple[ComponentSpec, ...]
    into: frozenset[str]
    fuse: How
    tree: Node

    def problem(self, path: str, message: str) -> SpecError:
        """An error at a place in the spec, such as ``model.likelihood``."""
        steps = tuple(int(step) if step.isdecimal() else step for step in path.split("."))
        return SpecError([self.tree.locate(steps).problem(path, message)])

    def resolved(self) -> dict[str, Any]:
        """The spec in full, defaults written out: it composes to the same model for ever."""
        model = {
            key: value.resolved() if isinstance(value, ComponentSpec) else value
            for key, value in ((key, getattr(self.model, key)) for key in ModelSpec.model_fields)
            if value is not None
        }
        if self.model.condition is not None:
            model["condition"] |= {"into": sorted(self.into), "fuse": self.fuse}
        train = self.train.model_dump(exclude_none=True)
        train["callbacks"] = [callback.resolved() for callback in self.train.callbacks]
        return {
            "spec": "vaezoo/v1",
            "name": self.name,
            "seed": self.seed,
            "requires": list(self.requires),
            "data": self.data.resolved(),
            "model": model,
            "objective": self.objective.resolved(),
            "regularizers": [bound.resolved() for bound in self.regularizers],
            "train": train,
            "evaluate": [bound.resolved() for bound in self.evaluate],
        }
