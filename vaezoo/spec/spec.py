"""The validated spec: what to train, on which data, and how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vaezoo.model.fusion import FusionMode
from vaezoo.spec.options import ComponentSpec
from vaezoo.spec.schema import ModelSpec, TrainSpec
from vaezoo.spec.tree import Node
from vaezoo.utils.errors import SpecError


@dataclass(frozen=True, kw_only=True)
class Spec:
    """A validated spec; ``vaezoo.load_spec`` reads one.

    Attributes:
        name, seed, requires: as in the file.
        data, model, objective, train, evaluate: the blocks of the spec; components are
            ``ComponentSpec``.
        regularizers: as in the file; by default ``kl``, unless the objective already includes the
            rate.
        into: the parts of the model that take the condition as input: ``encoder``, ``prior``,
            ``decoder``.
        fuse: how the condition joins the inputs of encoder and decoder: ``concat`` or ``film``.
        tree: the YAML after ``extends``, overrides and variables, with positions.

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
        >>> spec.model.latent_dim, spec.model.encoder.name, spec.model.encoder.options["hidden"]
        (2, 'mlp', [32])
        >>> spec.resolved()["regularizers"]
        [{'type': 'kl', 'weight': 1.0}]
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
            ... spec: vaezoo/v1
            ... name: tiny
            ... data: digits
            ... model: {latent_dim: 2, encoder: mlp, decoder: mlp, likelihood: bernoulli}
            ... ''', text=True)
            >>> print(spec.problem("model.latent_dim", "too small"))
            <text>:5:9: model.latent_dim: too small
        """
        steps = tuple(int(step) if step.isdecimal() else step for step in path.split("."))
        return SpecError([self.tree.locate(steps).problem(path, message)])

    def resolved(self) -> dict[str, Any]:
        """The complete spec with all defaults, so that later changes of defaults do not affect it.

        Example:
            >>> import vaezoo
            >>> spec = vaezoo.load_spec('''
            ... spec: vaezoo/v1
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
        return {
            "spec": "vaezoo/v1",
            "name": self.name,
            "seed": self.seed,
            "requires": list(self.requires),
            "data": self.data.resolved(),
            "model": model,
            "objective": self.objective.resolved(),
            "regularizers": [regularizer.resolved() for regularizer in self.regularizers],
            "train": train,
            "evaluate": [metric.resolved() for metric in self.evaluate],
        }
