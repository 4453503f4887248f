"""The cases of a suite: each variant on each data set, with the settings that may be tried."""

from __future__ import annotations

import hashlib
import itertools
import math
import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

from vaezoo.bench.ranges import Range
from vaezoo.bench.suite import Suite, Variant, read_suite
from vaezoo.spec.dump import dump_inline
from vaezoo.spec.load import load_spec
from vaezoo.spec.spec import Spec
from vaezoo.spec.tree import Mark
from vaezoo.utils.errors import SpecError

Setting = tuple[str, ...]
"""A choice of options, as overrides ``key.path=value``; empty for a spec as it is."""
_LONGEST_NAME = 120


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

    @cached_property
    def choices(self) -> dict[str, Range | list[str]]:
        """What is tried for each option: a range, or values as text."""
        choices: dict[str, Range | list[str]] = {}
        for key, values in self.definition.choose.items():
            parsed = Range.parse(values) if isinstance(values, str) else None
            choices[key] = parsed or list(dict.fromkeys(dump_inline(value) for value in values))
        return choices

    @property
    def is_choosing(self) -> bool:
        """Whether several settings are tried."""
        return self.is_suggested or self.number_of_combinations > 1

    @property
    def is_suggested(self) -> bool:
        """Whether Optuna suggests the settings; otherwise all combinations are tried."""
        choice = self.suite.choose_by
        is_sampled = self.number_of_combinations > (choice.trials or math.inf)
        return bool(self.definition.choose) and (is_sampled or choice.prune is not None)

    @property
    def number_of_combinations(self) -> float:
        """How many settings there are; infinite with a range of real numbers."""
        choices = self.choices.values()
        return math.prod(each.count if isinstance(each, Range) else len(each) for each in choices)

    @property
    def number_of_trials(self) -> int:
        """How many settings are tried."""
        trials = self.suite.choose_by.trials or math.inf
        return int(min(trials, self.number_of_combinations))

    def combinations(self) -> list[Setting]:
        """All settings; one that is empty without choices.

        Raises:
            ValueError: there are infinitely many.
        """
        choices = self.choices
        texts = [each.values() if isinstance(each, Range) else each for each in choices.values()]
        return [_setting(choices, values) for values in itertools.product(*texts)]

    def probes(self) -> list[Setting]:
        """Settings that together have every value, and both limits of every range."""
        if not self.is_suggested:
            return self.combinations()
        choices = self.choices
        texts = [each.ends() if isinstance(each, Range) else each for each in choices.values()]
        first = [values[0] for values in texts]
        changed = [
            [*first[:position], value, *first[position + 1 :]]
            for position, values in enumerate(texts)
            for value in values[1:]
        ]
        return [_setting(choices, values) for values in [first, *changed]]

    def overrides(self, setting: Setting, seed: int, steps: int | None) -> list[str]:
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

    def load(self, setting: Setting, seed: int, steps: int | None) -> Spec:
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


def _setting(keys: Iterable[str], values: Iterable[str]) -> Setting:
    return tuple(f"{key}={value}" for key, value in zip(keys, values, strict=True))


def setting_name(setting: Setting) -> str:
    """A short name of a setting that is a folder name, such as ``weight=4``.

    Settings with different values have different names.
    """
    if not setting:
        return "as-it-is"
    pairs = [text.partition("=") for text in setting]
    text = ",".join(f"{key.rpartition('.')[2]}={value}" for key, _, value in pairs)
    name = re.sub(r"[^A-Za-z0-9=.,_+-]+", "-", text)[:_LONGEST_NAME]
    if name == text:
        return name
    return f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def cases_of(suite: Suite, folder: Path) -> list[Case]:
    """The cases of a suite.

    Args:
        suite: the suite.
        folder: what paths of specs are relative to.
    """
    return [
        Case(suite, folder, name, data)
        for name, variant in suite.variants.items()
        for data in (variant.data if variant.data is not None else suite.data or [""])
    ]


def load_suite(path: Path, overrides: Sequence[str] = ()) -> tuple[Suite, list[Case]]:
    """Reads a suite, with overrides ``key.path=value``, and finds its cases.

    Raises:
        SpecError: it is not valid; the message lists every problem with its line.
        UsageError: an override does not have the form ``key.path=value``.
    """
    suite = read_suite(path, overrides)
    return suite, cases_of(suite, path.parent)
