"""The format of a suite: variants, data, seeds, the budget, and how settings are chosen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from vaezoo.bench.ranges import Range
from vaezoo.spec import messages
from vaezoo.spec.changes import parse_override, set_value
from vaezoo.spec.resolve import extend, read_tree
from vaezoo.spec.tree import Node
from vaezoo.utils.errors import SpecError

_NAME = r"^[a-z0-9]+([-.][a-z0-9]+)*$"
_SEED_LIMIT = 2**63 - 1
MAX_VALUES = 50
PRUNABLE = {"bound": True, "elbo": True, "distortion": False}
"""What validation records have of every trial, and whether higher values are better."""

Name = Annotated[str, StringConstraints(pattern=_NAME, max_length=60)]
Seed = Annotated[int, Field(ge=0, le=_SEED_LIMIT)]
Seeds = Annotated[list[Seed], Field(min_length=1, max_length=100)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


def _check_values(values: Any) -> Any:
    """Refuses what is neither values to try nor a range."""
    is_list = isinstance(values, list) and 0 < len(values) <= MAX_VALUES
    if is_list or (isinstance(values, str) and Range.parse(values) is not None):
        return values
    raise ValueError(
        f"a list of at most {MAX_VALUES} values, or a range as LOW..HIGH or LOW..HIGH:log"
    )


Values = Annotated[Any, AfterValidator(_check_values)]


def _check_differ(seeds: Sequence[int], name: str) -> None:
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"`{name}` that differ")


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
    """How settings are chosen: by a metric of the validation split.

    Attributes:
        metric: the name of the metric in the evaluation.
        seeds: those that all settings are tried with; the mean over them decides. Settings that
            are suggested have one.
        maximize: whether higher values are better; None for what the metric declares.
        trials: how many settings of a variant are tried, which Optuna suggests. None for all
            combinations, which is not possible with ranges; fewer combinations are all tried.
        prune: a number of the validation records: trials in which it is worse than the median of
            the others are ended early. None ends no trial.
    """

    metric: str = "elbo"
    seeds: Seeds = [0]
    maximize: bool | None = None
    trials: Annotated[int, Field(ge=1, le=10_000)] | None = None
    prune: Literal["bound", "elbo", "distortion"] | None = None

    @model_validator(mode="after")
    def _check_seeds(self) -> Choice:
        _check_differ(self.seeds, "choose_by.seeds")
        if len(self.seeds) > 1 and (self.trials or self.prune):
            raise ValueError("one of `seeds`, because settings are suggested or ended early")
        return self


class Variant(_Model):
    """A spec with changes, and the settings that are tried.

    Attributes:
        spec: the path of the spec, relative to the suite.
        set: changes as ``key.path=value``.
        choose: what to try, by the path of an option: values, or a range of numbers as
            ``LOW..HIGH`` or ``LOW..HIGH:log``.
        data: the names of data blocks that it is trained on; None for all.
        own_length: whether it keeps the length of training of its spec; specs with stages must.
    """

    spec: Annotated[str, StringConstraints(min_length=1, max_length=500)]
    set: list[str] = []
    choose: dict[str, Values] = {}
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
    seeds: Seeds = [0, 1, 2]
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
            is_range = any(isinstance(values, str) for values in variant.choose.values())
            if is_range and self.choose_by.trials is None:
                raise ValueError(f"`choose_by.trials`, because variant {name} has a range")
        _check_differ(self.seeds, "seeds")
        return self


def read_suite(path: Path, overrides: Sequence[str] = ()) -> Suite:
    """Reads a suite, merged over the suite that it extends.

    Args:
        path: the file. Paths of specs are relative to its folder, also those of what it extends.
        overrides: ``key.path=value``; one kind of budget replaces another.

    Raises:
        SpecError: it is not valid; the message lists every problem with its line.
        UsageError: an override does not have the form ``key.path=value``.
    """
    node = extend(read_tree(path, "bench: vaezoo/bench/v1"), path)
    for steps, value in map(parse_override, overrides):
        if steps[0] == "budget":
            empty = Node({}, value.mark, {})
            keys = {**node.keys, "budget": value.mark}
            node = Node({**node.value, "budget": empty}, node.mark, keys)
        node = set_value(node, steps, value)
    try:
        return Suite.model_validate(node.plain())
    except ValidationError as error:
        raise SpecError(sorted(messages.translate(error, node, "", Suite))) from None
