"""One stage of training, as a spec describes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from vaezoo.spec.options import ComponentSpec
from vaezoo.spec.schema import StageOptions, StageSpec, TrainSpec
from vaezoo.utils.seeds import derive_seed


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A stage of training with all its options. A spec without ``stages`` has exactly one.

    Attributes:
        index: counted from 0.
        name: as in the spec; empty in a spec without ``stages``.
        path: where it is in the spec, such as ``stages.1``; empty in a spec without ``stages``.
        seed: of its random streams.
        train: its training options, with those of the block ``train`` where it has none.
        objective, regularizers: its loss.
        parts: the parts of the model that are trained; None trains all.
        sampler: the sampler that replaces the prior, or None.
        begin_from: the weights of the stage before: ``best`` or ``last``.
    """

    index: int
    name: str
    path: str
    seed: int
    train: TrainSpec
    objective: ComponentSpec
    regularizers: tuple[ComponentSpec, ...]
    parts: tuple[str, ...] | None = None
    sampler: str | None = None
    begin_from: Literal["best", "last"] = "best"

    def count_steps(self, steps_per_epoch: int) -> int:
        """The number of training steps, unless it stops early."""
        return self.train.steps or steps_per_epoch * (self.train.epochs or 1)

    def trains_sampler(self, name: str) -> bool:
        """Whether the stage trains a sampler, or a part of it."""
        prefix = f"samplers.{name}."
        return any(p == "samplers" or f"{p}.".startswith(prefix) for p in self.parts or ())

    def path_of(self, key: str) -> str:
        """The path in the spec of a key of its training options, for messages."""
        return f"{self.path or 'train'}.{key}"

    def resolved(self, train: TrainSpec) -> dict[str, Any]:
        """The stage's block in a resolved spec, with all its options.

        Args:
            train: the block ``train`` of the spec, from which options that are left out come.
        """
        options = {name: getattr(self.train, name) for name in StageOptions.model_fields}
        block = StageOptions.model_construct(**options).model_dump(exclude_none=True)
        unset = (name for name, value in options.items() if value is None)
        block |= {name: None for name in unset if getattr(train, name) is not None}
        block |= {"parts": list(self.parts)} if self.parts is not None else {}
        block |= {"sampler": self.sampler} if self.sampler is not None else {}
        return {
            "name": self.name,
            **({"from": self.begin_from} if self.index else {}),
            **block,
            "objective": self.objective.resolved(),
            "regularizers": [regularizer.resolved() for regularizer in self.regularizers],
        }


def only_stage(
    seed: int,
    train: TrainSpec,
    objective: ComponentSpec,
    regularizers: Sequence[ComponentSpec],
) -> Stage:
    """The stage of a spec without ``stages``."""
    return Stage(
        index=0,
        name="",
        path="",
        seed=seed,
        train=train,
        objective=objective,
        regularizers=tuple(regularizers),
    )


def merge_stage(
    block: StageSpec,
    index: int,
    *,
    seed: int,
    train: TrainSpec,
    objective: ComponentSpec,
    regularizers: Sequence[ComponentSpec],
) -> Stage:
    """A stage of the spec, completed by what the spec says for all stages.

    Args:
        block: its block.
        index: counted from 0.
        seed: of the run; the first stage has the same random streams as a spec without stages.
        train: the block ``train`` of the spec.
        objective: of the stage.
        regularizers: of the stage.
    """
    own = {name: getattr(block, name) for name in block.model_fields_set}
    changes = {name: value for name, value in own.items() if name in StageOptions.model_fields}
    if {"steps", "epochs"} & changes.keys():  # one replaces the other
        changes = {"steps": None, "epochs": None, **changes}
    parts = block.parts
    if parts is None and block.sampler is not None:
        parts = [f"samplers.{block.sampler}"]
    return Stage(
        index=index,
        name=block.name,
        path=f"stages.{index}",
        seed=seed if index == 0 else derive_seed(seed, "stage", index),
        train=train.model_copy(update=changes),
        objective=objective,
        regularizers=tuple(regularizers),
        parts=None if parts is None else tuple(parts),
        sampler=block.sampler,
        begin_from=block.begin_from,
    )
