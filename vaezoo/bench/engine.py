"""What is left of a suite to do; what is done is read from the disk."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaezoo.bench.suite import Case, Suite
from vaezoo.bench.units import FAILURE, Unit, value_of
from vaezoo.evaluation.metric import is_higher_better
from vaezoo.utils.errors import UsageError
from vaezoo.utils.files import read_json, write_json


@dataclass(frozen=True)
class Job:
    """What one process does.

    Attributes:
        name: of the unit, for messages.
        action: ``time`` steps, ``train`` or continue a run, or ``test`` it on the test split.
        folder: that of the unit.
        content: what ``vaezoo.bench.worker`` reads.
    """

    name: str
    action: str
    folder: Path
    content: Mapping[str, Any]


class Engine:
    """The state of a suite on disk, and what is to be done next.

    Args:
        suite: the suite.
        cases: its variants on their data.
        out: the folder of its runs.
    """

    def __init__(self, suite: Suite, cases: Sequence[Case], out: Path) -> None:
        self.suite, self.cases, self.out = suite, cases, out
        self._timings = out / "timings.json"
        self._directions: dict[str, bool] = {}

    def check(self) -> None:
        """Composes each spec once, and compares started runs with their specs.

        Raises:
            SpecError: a spec is not valid.
            UsageError: a run was started with another spec, or settings cannot be chosen.
        """
        for case in self.cases:
            has_budget = self.suite.budget is not None and not case.definition.own_length
            for setting in case.settings():
                case.load(setting, self.suite.choose_by.seed, 1 if has_budget else None)
            if len(case.settings()) > 1:
                self._maximizes(case)
        for unit in self.all_units():
            unit.check_unchanged()

    def _maximizes(self, case: Case) -> bool:
        """Whether the highest value chooses a setting."""
        choice = self.suite.choose_by
        if choice.maximize is not None:
            return choice.maximize
        if case.name not in self._directions:
            spec = case.load(case.settings()[0], choice.seed, None)
            result = is_higher_better(choice.metric, (each.cls for each in spec.evaluate))
            if result is None:
                raise UsageError(
                    f"variant {case.variant}: no metric of its spec says whether higher or lower "
                    f"values of {choice.metric!r} are better; give choose_by.maximize"
                )
            self._directions[case.name] = result
        return self._directions[case.name]

    def steps(self, case: Case) -> int | None:
        """The steps that a case trains; None for the length of its spec.

        Raises:
            KeyError: the steps of the case are not timed yet.
        """
        budget = self.suite.budget
        if budget is None or case.definition.own_length:
            return None
        if budget.steps is not None:
            return budget.steps
        seconds = self._known_timings()[case.name]
        kind = "minutes" if budget.minutes is not None else "cpu_minutes"
        minutes = budget.minutes or budget.cpu_minutes or 0.0
        return max(1, round(60 * minutes / seconds[kind]))

    def _known_timings(self) -> dict[str, dict[str, float]]:
        """The seconds of a training step by case, as far as they were measured."""
        return read_json(self._timings) if self._timings.is_file() else {}

    def choosing_units(self, case: Case) -> list[Unit]:
        """The runs that settings are chosen by; empty if there is nothing to choose."""
        settings, seed = case.settings(), self.suite.choose_by.seed
        if len(settings) < 2:
            return []
        steps = self.steps(case)
        return [Unit.of(case, setting, seed, steps, out=self.out) for setting in settings]

    def chosen(self, case: Case) -> tuple[str, ...] | None:
        """The setting of a case; None while it is not chosen, or if every setting failed."""
        units = self.choosing_units(case)
        if not units:
            return case.settings()[0]
        if not all(unit.is_trained or unit.failure for unit in units):
            return None
        metric = self.suite.choose_by.metric
        values = [
            (value, unit.setting)
            for unit in units
            if (value := value_of(unit, "validation", metric)) is not None
        ]
        sign = 1 if self._maximizes(case) else -1
        best = max(values, key=lambda pair: sign * pair[0], default=None)
        return None if best is None else best[1]

    def final_units(self, case: Case) -> list[Unit]:
        """The runs that are compared: those of the chosen setting; empty before it is chosen."""
        try:
            setting, steps = self.chosen(case), self.steps(case)
        except KeyError:
            return []
        if setting is None:
            return []
        return [Unit.of(case, setting, seed, steps, out=self.out) for seed in self.suite.seeds]

    def plan(self) -> list[tuple[str, str, str]]:
        """The name of each case, its settings and its seeds, in words."""
        seeds = ", ".join(map(str, self.suite.seeds))
        return [
            (
                case.name,
                "; ".join(" ".join(setting) for setting in case.settings()) or "as it is",
                seeds,
            )
            for case in self.cases
        ]

    def all_units(self) -> Iterator[Unit]:
        """Every unit that is known now."""
        for case in self.cases:
            with contextlib.suppress(KeyError):
                yield from self.choosing_units(case)
            yield from self.final_units(case)

    def jobs(self) -> Iterator[Job]:
        """The jobs that can be done now, in the order of the suite."""
        for case in self.cases:
            folder = self.out / "runs" / case.name
            try:
                self.steps(case)
            except KeyError:
                if not (folder / FAILURE).is_file():
                    yield self._timing_job(case, folder)
                continue
            final = {unit.folder: unit for unit in self.final_units(case)}
            choosing = {unit.folder: unit for unit in self.choosing_units(case)}
            for folder, unit in (choosing | final).items():
                if unit.failure:
                    continue
                if not unit.is_trained:
                    yield self._job(unit, "train")
                elif folder in final and unit.evaluation("test") is None:
                    yield self._job(unit, "test")

    def _timing_job(self, case: Case, folder: Path) -> Job:
        setting = case.settings()[0]
        content = {
            "action": "time",
            "folder": str(folder),
            "spec": str(case.folder / case.definition.spec),
            "overrides": case.overrides(setting, self.suite.seeds[0], 1_000_000),
            "result": str(folder / "timing.json"),
        }
        return Job(case.name, "time", folder, content)

    def _job(self, unit: Unit, action: str) -> Job:
        directory = unit.directory()
        case = unit.case
        content = {
            "action": action,
            "folder": str(unit.folder),
            "run": "" if directory is None else str(directory.path),
            "spec": str(case.folder / case.definition.spec),
            "overrides": case.overrides(unit.setting, unit.seed, unit.steps),
            "split": unit.split,
        }
        return Job(unit.name, action, unit.folder, content)

    def finish(self, job: Job) -> None:
        """Keeps the result of a job that times steps."""
        result = job.folder / "timing.json"
        if job.action == "time" and result.is_file():
            write_json(self._timings, {**self._known_timings(), job.name: read_json(result)})
            result.unlink()
            shutil.rmtree(job.folder / "timing", ignore_errors=True)


def failures(engine: Engine) -> list[tuple[str, str]]:
    """The names of the cases and runs that failed, and why."""
    found = []
    for case in engine.cases:
        path = engine.out / "runs" / case.name / FAILURE
        if path.is_file():
            found.append((case.name, str(read_json(path)["error"])))
    found += [(unit.name, unit.failure) for unit in engine.all_units() if unit.failure]
    return list(dict.fromkeys(found))
