"""A component under test, in the model that it is tested in."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from vaezoo.data.batch import Batch
from vaezoo.data.dataset import Dataset
from vaezoo.data.loader import Loader
from vaezoo.model.component import Component
from vaezoo.model.model import Model
from vaezoo.model.task import Task
from vaezoo.plugins.catalogue import BUILT_IN, ComponentEntry
from vaezoo.plugins.registration import RegisteredEntry, registered_for_now
from vaezoo.runs.in_memory import build_dataset
from vaezoo.runs.loaders import build_loader
from vaezoo.spec.composer import compose_stages
from vaezoo.spec.load import load_spec
from vaezoo.spec.spec import Spec
from vaezoo.spec.stage import Stage
from vaezoo.testing.examples import BATCH, EXAMPLES, tiny_spec
from vaezoo.testing.setting import Setting, merge
from vaezoo.testing.steps import steps_known
from vaezoo.utils.seeds import seeded

CPU = torch.device("cpu")
MODEL_KINDS = ("encoder", "posterior", "prior", "latents", "decoder", "likelihood")
"""The kinds with a key of their own in the block ``model``."""
LATE_STEP = 10**6
"""After every warm-up, where no weight of a regularizer is 0 and hides its gradient."""


@dataclass(frozen=True)
class Bench:
    """A freshly composed task with the component under test, and a batch of five examples.

    Attributes:
        case: what is tested.
        task: the task of the last stage.
        stage: that stage.
        batch: five examples.
        others: five other examples.
    """

    case: Case
    task: Task
    stage: Stage
    batch: Batch
    others: Batch

    @property
    def model(self) -> Model:
        """The model."""
        return self.task.model

    @property
    def parts(self) -> list[Component]:
        """The components of the class under test that the task contains."""
        own = (part for part in self.task.modules() if type(part) is self.case.cls)
        return [part for part in own if isinstance(part, Component)]

    @property
    def pools_examples(self) -> bool:
        """Whether the component says that an example's result depends on others."""
        inside = (module for part in self.parts for module in part.modules())
        return any(isinstance(part, Component) and part.pools_examples for part in inside)

    def has(self, *kinds: type[nn.Module]) -> bool:
        """Whether the task contains a module of one of some classes."""
        return any(isinstance(module, kinds) for module in self.task.modules())


@dataclass(frozen=True)
class Case:
    """A component under test.

    Attributes:
        entry: its kind, name and class.
        setting: its options, and the model that it is tested in.
        label: what tells it from other settings of the component; empty if there is one.
        data: the name of the made-up data; None if the setting has data of its own.
        changes: blocks of the spec that were chosen because they fit the component.
        memo: what is expensive to compute, by name.
    """

    entry: ComponentEntry
    setting: Setting
    label: str = ""
    data: str | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)
    memo: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def __str__(self) -> str:
        name = self.entry.name
        if isinstance(self.entry, RegisteredEntry):
            name = self.cls.__name__
        return f"{self.kind} {name!r}{self.label}"

    @property
    def kind(self) -> str:
        """The kind of the component."""
        return self.entry.kind

    @cached_property
    def cls(self) -> Any:
        """The class of the component."""
        return self.entry.load()

    @property
    def block(self) -> dict[str, Any]:
        """The component in a spec: its name and options."""
        is_bare = self.entry.plugin == BUILT_IN or isinstance(self.entry, RegisteredEntry)
        name = self.entry.name if is_bare else f"{self.entry.plugin}:{self.entry.name}"
        return {"type": name, **self.setting.options}

    @contextmanager
    def known(self) -> Iterator[None]:
        """Within, specs may name the class, if no plugin provides it."""
        with ExitStack() as stack:
            if isinstance(self.entry, RegisteredEntry):
                stack.enter_context(registered_for_now(self.entry))
            if self.data == "steps":
                stack.enter_context(steps_known())
            yield

    @cached_property
    def document(self) -> dict[str, Any]:
        """The content of the spec."""
        spec = merge(merge(tiny_spec(self.data), self.changes), self.setting.spec)
        return _placed(spec, self.kind, self.block, self.cls)

    @cached_property
    def spec(self) -> Spec:
        """The spec.

        Raises:
            VaezooError: it is not valid.
        """
        with self.known():
            return load_spec(self.document)

    @cached_property
    def examples(self) -> Any:
        """The data that the spec is composed for; None if it names a data set."""
        data = self.setting.data
        if isinstance(data, str) or data is None:
            return None if self.data is None else EXAMPLES[self.data]()
        return data

    @cached_property
    def dataset(self) -> Dataset:
        """The data set."""
        return build_dataset(self.spec, self.examples)

    @cached_property
    def loader(self) -> Loader:
        """The loader of the training split."""
        return self.split("train")

    def split(self, name: str) -> Loader:
        """The loader of a split."""
        return build_loader(self.spec, self.dataset, name, CPU)

    @cached_property
    def probe(self) -> Bench:
        """A task that is looked at, and never changed."""
        return self.compose()

    def compose(self, step: int = LATE_STEP, *, anew: bool = False) -> Bench:
        """A new task, in training mode, with the same initial weights each time.

        Args:
            step: the training step of its schedules.
            anew: whether it is built again, and not copied from one that nobody changes.

        Raises:
            VaezooError: the parts do not fit together.
        """
        task = self.build() if anew else self._copy()
        task.train()
        both = self.loader.first(2 * BATCH).map(Tensor.clone)  # a task may change it
        batch, others = both.select(slice(0, BATCH)), both.select(slice(BATCH, 2 * BATCH))
        task.set_step(step)
        with seeded(CPU, "promise", "initialise"):
            task.initialise(batch)
        return Bench(self, task, self.spec.stages[-1], batch, others)

    def build(self) -> Task:
        """A task that nothing has initialised from data yet."""
        with self.known():
            task = compose_stages(self.spec, self.dataset.spec, len(self.loader))[-1]
        task.model.count_classes(self.loader.condition)
        return task

    def _copy(self) -> Task:
        """A copy of a task, which takes less time than building one; if it can be copied."""
        if "task" not in self.memo:
            self.memo["task"] = self.build()
        try:
            return copy.deepcopy(self.memo["task"])
        except (RuntimeError, TypeError):  # such as of a generator or a tensor with a graph
            return self.build()


def _placed(spec: dict[str, Any], kind: str, block: dict[str, Any], cls: Any) -> dict[str, Any]:
    """A spec with a component at its place."""
    if kind in MODEL_KINDS:
        return merge(spec, {"model": {kind: block}})
    if kind == "conditioner":
        into = {"into": ["encoder", "decoder"], **(spec["model"].get("condition") or {})}
        return merge(spec, {"model": {"condition": {**into, **block}}})
    if kind == "objective":
        alone = cls.loss_includes_rate
        return {**spec, "regularizers": [] if alone else ["kl"], **spec, "objective": block}
    if kind == "regularizer":
        first = [] if cls.penalizes_rate else ["kl"]
        spec = {"objective": {"type": "reconstruction", "samples": 2}, **spec}
        return {**spec, "regularizers": [*spec.get("regularizers", first), block]}
    if kind == "schedule":
        return {**spec, "regularizers": [{"type": "kl", "weight": block}]}
    if kind == "metric":
        return {**spec, "evaluate": [block]}
    return {**spec, "data": {"batch_size": BATCH, **block}} if kind == "dataset" else spec
