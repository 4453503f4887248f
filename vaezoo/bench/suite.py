"""The format of a suite: variants, data, seeds, the budget, and how settings are chosen."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from vaezoo.spec import messages
from vaezoo.spec.dump import dump_inline
from vaezoo.spec.load import load_spec
from vaezoo.spec.resolve import read_tree
from vaezoo.spec.spec import Spec
from vaezoo.spec.tree import Mark, Node
from vaezoo.utils.errors import SpecError

_NAME = r"^[a-z0-9]+([-.][a-z0-9]+)*$"
_SEED_LIMIT = 2**63 - 1

Name = Annotated[str, StringConstraints(pattern=_NAME, max_length=60)]
Seed = Annotated[int, Field(ge=0, le=_SEED_LIMIT)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Model(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Budget(_Model):
    """How long each run trains: one of the three.

    Minutes are turned into a number of training steps once, by timing steps of each variant on
    this machine, so that schedules know the end and a continued run has the same bits.

    Attributes:
        steps: training steps.
        minutes: of training steps, on a clock.
        cpu_minutes: of training steps, CPU time of the process.
    """

    steps: Annotated[int, Field(ge=1)] | None = None
    minutes: Positive | None = None
    cpu_minutes: Positive | None = None

    @model_validator(mode="after")
    def _check_one(self) -> Budget:
        if sum(value is not None for value in (self.steps, self.minutes, self.cpu_minutes)) != 1:
            raise ValueError("a mapping with one of `steps`, `minutes` and `cpu_minutes`")
        return self


class Choice(_Model):
    """How settings are chosen: by a metric of the validation split, with one seed.

    Attributes:
        metric: the name of the metric in the evaluation.
        seed: the seed that all settings are tried with.
        maximize: whether higher values are better; None for what the metric declares.
    """

    metric: str = "elbo"
    seed: Seed = 0
    maximize: bool | None = None


class Variant(_Model):
    """A spec with changes, and the settings that are tried.

    Attributes:
        spec: the path of the spec, relative to the suite.
        set: changes as ``key.path=value``.
        choose: values to try, by the path of an option; all combinations are tried.
        data: the names of data blocks that it is trained on; None for all.
        own_length: whether it keeps the length of training of its spec; specs with stages must.
    """

    spec: Annotated[str, StringConstraints(min_length=1, max_length=500)]
    set: list[str] = []
    choose: dict[str, Annotated[list[Any], Field(min_length=1, max_length=50)]] = {}
    data: list[Name] | None = None
    own_length: bool = False


class Suite(_Model):
    """A suite.

    Attributes:
        bench: the format.
        name: the name, and that of the folder of its runs.
        title: a heading; by default the name.
        budget: how long each run trains.
        seeds: of each chosen setting.
        choose_by: how settings are chosen.
        evaluate: the metrics of every run, in place of those of its spec.
        set: changes of every spec.
        data: blocks of data by name, each in place of that of the specs; empty for their own.
        variants: by name.
    """

    bench: Literal["vaezoo/bench/v1"]
    name: Name
    title: str = ""
    budget: Budget | None = None
    seeds: Annotated[list[Seed], Field(min_length=1, max_length=100)] = [0, 1, 2]
    choose_by: Choice = Choice()
    evaluate: list[Any] = []
    set: list[str] = []
    data: dict[Name, dict[str, Any]] = {}
    variants: Annotated[dict[Name, Variant], Field(min_length=1, max_length=200)]

    @model_validator(mode="after")
    def _check_references(self) -> Suite:
        for name, variant in self.variants.items():
            if unknown := set(variant.data or ()) - self.data.keys():
                raise ValueError(f"`data` with {sorted(unknown)[0]!r}, which variant {name} names")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("`seeds` that differ")
        return self


class Case:
    """A variant on one data set.

    Attributes:
        suite: the suite.
        folder: that of the suite file, which paths of specs are relative to.
        variant: the name of the variant.
        data: the name of the data block; empty for that of the spec.
    """

    def __init__(self, suite: Suite, folder: Path, variant: str, data: str) -> None:
        self.suite, self.folder, self.variant, self.data = suite, folder, variant, data

    @property
    def name(self) -> str:
        """``variant``, or ``variant@data``."""
        return f"{self.variant}@{self.data}" if self.data else self.variant

    @property
    def definition(self) -> Variant:
        """The variant in the suite."""
        return self.suite.variants[self.variant]

    def settings(self) -> list[tuple[str, ...]]:
        """The settings to try, each as overrides; one without overrides if nothing is chosen."""
        choose = self.definition.choose
        combinations = itertools.product(*choose.values())
        return [
            tuple(f"{key}={dump_inline(value)}" for key, value in zip(choose, values, strict=True))
            for values in combinations
        ]

    def overrides(self, setting: tuple[str, ...], seed: int, steps: int | None) -> list[str]:
        """The changes of the spec for one run; ``steps`` None for the length of the spec."""
        changes = [*self.suite.set]
        if self.data:
            changes.append(f"data={dump_inline(self.suite.data[self.data])}")
        if self.suite.evaluate:
            changes.append(f"evaluate={dump_inline(self.suite.evaluate)}")
        changes += [*self.definition.set, *setting, f"seed={seed}"]
        if steps is not None:
            changes += ["train.epochs=null", f"train.steps={steps}"]
        return changes

    def load(self, setting: tuple[str, ...], seed: int, steps: int | None) -> Spec:
        """The spec of one run.

        Raises:
            SpecError: it is not valid, or has stages and not ``own_length``.
        """
        path = self.folder / self.definition.spec
        spec = load_spec(path, self.overrides(setting, seed, steps))
        if steps is not None and len(spec.stages) > 1:
            message = (
                f"has stages, whose lengths a budget does not set; "
                f"give variant {self.variant} own_length: true"
            )
            raise SpecError([Mark(str(path), 1, 1).problem("stages", message)])
        return spec


def setting_name(setting: tuple[str, ...]) -> str:
    """A short name of a setting that is a folder name, such as ``weight=4``."""
    if not setting:
        return "as-it-is"
    pairs = [text.partition("=") for text in setting]
    text = ",".join(f"{key.rpartition('.')[2]}={value}" for key, _, value in pairs)
    return re.sub(r"[^A-Za-z0-9=.,_+-]+", "-", text)[:120]


def load_suite(path: Path) -> tuple[Suite, list[Case]]:
    """Reads a suite and finds its cases.

    Raises:
        SpecError: it is not valid; the message lists every problem with its line.
    """
    node = read_tree(path)
    try:
        suite = Suite.model_validate(node.plain())
    except ValidationError as error:
        raise SpecError(sorted(_problems(error, node))) from None
    cases = [
        Case(suite, path.parent, name, data)
        for name, variant in suite.variants.items()
        for data in (variant.data if variant.data is not None else suite.data or [""])
    ]
    for case in cases:
        names = [setting_name(setting) for setting in case.settings()]
        if len(set(names)) < len(names):
            mark = node.keys["variants"]
            message = f"settings of {case.variant} have the same short name; try fewer"
            raise SpecError([mark.problem(f"variants.{case.variant}.choose", message)])
    return suite, cases


def _problems(error: ValidationError, node: Node) -> list[Any]:
    return messages.translate(error, node, "", Suite)
