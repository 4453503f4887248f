"""What is left of a suite to do; what is done is read from the disk."""

from __future__ import annotations

import contextlib
import math
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from vaezoo.bench.cases import Case, Setting
from vaezoo.bench.study import CaseStudy, Outcome
from vaezoo.bench.suite import Suite
from vaezoo.bench.units import FAILURE, Unit, value_of
from vaezoo.evaluation.metric import Metric, is_higher_better
from vaezoo.runs.in_memory import check_no_data_needed
from vaezoo.utils.errors import UsageError, did_you_mean
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
        self._studies: dict[str, CaseStudy] = {}

    def check(self) -> None:
        """Composes each spec once, and compares started runs with their specs.

        Raises:
            SpecError: a spec is not valid.
            UsageError: a run was started with another spec, or settings cannot be chosen.
        """
        for case in self.cases:
            has_budget = self.suite.budget is not None and not case.definition.own_length
            for setting in case.probes():
                spec = case.load(setting, self._first_seed, 1 if has_budget else None)
            check_no_data_needed(spec)
            if case.is_choosing:
                self._maximizes(case)
        for unit in self.all_units():
            unit.check_unchanged()

    @property
    def _first_seed(self) -> int:
        """The first seed that chooses, which is the only one of settings that are suggested."""
        return self.suite.choose_by.seeds[0]

    def _maximizes(self, case: Case) -> bool:
        """Whether the highest value chooses a setting."""
        choice = self.suite.choose_by
        if choice.maximize is not None:
            return choice.maximize
        if case.name not in self._directions:
            self._directions[case.name] = self._declared_direction(case)
        return self._directions[case.name]

    def _declared_direction(self, case: Case) -> bool:
        choice = self.suite.choose_by
        spec = case.load(case.probes()[0], self._first_seed, None)
        metrics: list[type[Metric]] = [each.cls for each in spec.evaluate]
        result = is_higher_better(choice.metric, metrics)
        if result is not None:
            return result
        known = {name for each in metrics for name in each.higher_is_better | each.lower_is_better}
        raise UsageError(
            f"{case.name}: no metric of the spec says whether higher or lower values of "
            f"{choice.metric!r} are better{did_you_mean(choice.metric, known)}; "
            "give choose_by.maximize (of a sweep: --maximize or --minimize)"
        )

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

    def study(self, case: Case) -> CaseStudy:
        """The trials of a case whose settings are suggested."""
        if case.name not in self._studies:
            maximize = self._maximizes(case)
            self._studies[case.name] = CaseStudy(case, self.folder(case), maximize=maximize)
        return self._studies[case.name]

    def folder(self, case: Case) -> Path:
        """The folder of the runs of a case."""
        return self.out / "runs" / case.name

    def choosing_units(self, case: Case) -> list[Unit]:
        """The runs that settings are chosen by, as far as known; empty without choices."""
        if not case.is_choosing:
            return []
        is_suggested = case.is_suggested
        settings = self.study(case).settings() if is_suggested else case.combinations()
        steps, seeds = self.steps(case), self.suite.choose_by.seeds
        return [
            Unit.of(case, setting, seed, steps, out=self.out)
            for setting in settings
            for seed in seeds
        ]

    def _trial(self, case: Case, setting: Setting) -> Unit:
        return Unit.of(case, setting, self._first_seed, self.steps(case), out=self.out)

    def _next_trial(self, case: Case) -> Unit | None:
        """The run of a new suggestion; None if there are enough trials."""
        study = self.study(case)
        known = study.settings()
        while (setting := study.suggest()) is not None:
            unit = self._trial(case, setting)
            if setting not in known and not unit.has_ended:
                return unit
            self._settle(case)  # a setting that was tried before has its value already
        return None

    def _settle(self, case: Case) -> None:
        """Tells the study of a case what its trials came to."""

        def outcome(setting: Setting) -> Outcome:
            unit = self._trial(case, setting)
            if unit.failure:
                return "failed"
            if unit.is_trained:
                value = value_of(unit, "validation", self.suite.choose_by.metric)
                return math.nan if value is None else value
            return "pruned" if unit.is_pruned else None

        self.study(case).settle(outcome)

    def chosen(self, case: Case) -> Setting | None:
        """The setting of a case; None while it is not chosen, or if no run has the metric."""
        if not case.is_choosing:
            return case.combinations()[0]
        if case.is_suggested and not self.study(case).is_complete:
            return None
        units = self.choosing_units(case)
        if not all(unit.has_ended for unit in units):
            return None
        return self.best_setting(case, units)

    def best_setting(self, case: Case, units: Iterable[Unit]) -> Setting | None:
        """The setting whose units have the best mean on the validation split.

        A setting without a value for one of them is not chosen. None if none is left.
        """
        metric, sign = self.suite.choose_by.metric, 1 if self._maximizes(case) else -1
        values: dict[Setting, list[float]] = {}
        for unit in units:
            value = value_of(unit, "validation", metric)
            values.setdefault(unit.setting, []).append(math.nan if value is None else value)
        means = {setting: sign * fmean(each) for setting, each in values.items()}
        known = {setting: mean for setting, mean in means.items() if not math.isnan(mean)}
        return max(known, key=known.__getitem__, default=None)

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
                _describe_settings(case),
                seeds,
            )
            for case in self.cases
        ]

    def all_units(self) -> Iterator[Unit]:
        """Every unit that is known now."""
        for case in self.cases:
            yield from self.units_of(case)

    def units_of(self, case: Case) -> Iterator[Unit]:
        """Every unit of a case that is known now; the chosen one twice."""
        with contextlib.suppress(KeyError):
            yield from self.choosing_units(case)
        yield from self.final_units(case)

    def count_runs(self, running: Collection[Path]) -> tuple[int, int]:
        """How many runs have ended, without those in some folders, and how many there will be."""
        ended = {unit.folder for unit in self.all_units() if unit.has_ended}
        return len(ended - set(running)), sum(map(self._number_of_runs, self.cases))

    def _number_of_runs(self, case: Case) -> int:
        seeds = set(self.suite.seeds)
        if not case.is_choosing:
            return len(seeds)
        choosing = self.suite.choose_by.seeds
        return case.number_of_trials * len(choosing) + len(seeds.difference(choosing))

    def jobs(self) -> Iterator[Job]:
        """The jobs that can be done now, in the order of the suite."""
        for case in self.cases:
            try:
                self.steps(case)
            except KeyError:
                if not (self.folder(case) / FAILURE).is_file():
                    yield self._timing_job(case, self.folder(case))
                continue
            if case.is_suggested:
                self._settle(case)
            yield from self._jobs_of(case)

    def _jobs_of(self, case: Case) -> Iterator[Job]:
        final = {unit.folder: unit for unit in self.final_units(case)}
        choosing = {unit.folder: unit for unit in self.choosing_units(case)}
        for folder, unit in (choosing | final).items():
            if not unit.has_ended:
                yield self._job(unit, "train")
            elif folder in final and unit.waits_for_test:
                yield self._job(unit, "test")
        if case.is_suggested:
            while (trial := self._next_trial(case)) is not None:
                yield self._job(trial, "train")

    def _timing_job(self, case: Case, folder: Path) -> Job:
        setting = case.probes()[0]
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
            "pruning": self._pruning(unit) if action == "train" else None,
        }
        return Job(unit.name, action, unit.folder, content)

    def _pruning(self, unit: Unit) -> dict[str, Any] | None:
        """What a process needs to end a trial early; None if it is no trial, or none is ended."""
        if not (unit.case.is_suggested and unit.split == "validation"):
            return None
        return self.study(unit.case).begin(unit.setting)

    def finish(self, job: Job) -> None:
        """Keeps the result of a job that times steps."""
        result = job.folder / "timing.json"
        if job.action == "time" and result.is_file():
            write_json(self._timings, {**self._known_timings(), job.name: read_json(result)})
            result.unlink()
            shutil.rmtree(job.folder / "timing", ignore_errors=True)


def _describe_settings(case: Case) -> str:
    """The settings of a case in words."""
    if not case.is_suggested:
        return "; ".join(" ".join(setting) for setting in case.combinations()) or "as it is"
    choices = case.definition.choose
    return f"{case.number_of_trials} of " + " ".join(f"{key}={choices[key]}" for key in choices)
