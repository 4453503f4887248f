"""The table of a suite: each chosen setting with the mean and spread of its metrics over seeds."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vaezoo.bench.cases import Case, setting_name
from vaezoo.bench.engine import Engine
from vaezoo.bench.units import Unit
from vaezoo.evaluation.metric import is_higher_better
from vaezoo.spec.spec import Spec


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes:
        name: the case.
        setting: the chosen setting, in short.
        seeds: those that are measured.
        values: the values of each metric, in the order of ``seeds``; NaN where one is missing.
        units: the unit of each metric.
        meanings: whether each is a bound, and whether higher or lower values are better.
        samples: the number of samples of each metric that says so.
        data: the name of the data set.
        binarization: how its images are made binary; None if they are not.
        seconds: mean CPU seconds of training.
        runs: the folders of the runs.
    """

    name: str
    setting: str
    seeds: tuple[int, ...]
    values: dict[str, tuple[float, ...]]
    units: dict[str, str]
    meanings: dict[str, str]
    samples: dict[str, int]
    data: str
    binarization: str | None
    seconds: float
    runs: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """The row as JSON values."""
        return dataclasses.asdict(self)


def leaderboard(engine: Engine) -> list[Row]:
    """The rows of the cases that have at least one measured run, in the order of the suite."""
    rows = [_row(engine, case) for case in engine.cases]
    return [row for row in rows if row is not None]


def _row(engine: Engine, case: Case) -> Row | None:
    measured = [
        (unit, evaluation)
        for unit in engine.final_units(case)
        if (evaluation := unit.evaluation("test")) is not None
    ]
    if not measured:
        return None
    units, evaluations = zip(*measured, strict=True)
    names = dict.fromkeys(name for each in evaluations for name in each["metrics"])
    setting, spec = units[0].setting, units[0].load()
    measures = {name: _first(evaluations, name) for name in names}
    return Row(
        name=case.name,
        setting=setting_name(setting) if case.is_choosing else "",
        seeds=tuple(unit.seed for unit in units),
        values={name: tuple(_value(each, name) for each in evaluations) for name in names},
        units={name: str(row["unit"]) for name, row in measures.items()},
        meanings={name: _meaning(name, row, spec) for name, row in measures.items()},
        samples={name: int(row["samples"]) for name, row in measures.items() if "samples" in row},
        data=spec.data.name,
        binarization=spec.resolved()["data"].get("binarize"),
        seconds=_mean_seconds(units),
        runs=tuple(str(unit.directory().path) for unit in units),
    )


def _value(evaluation: dict[str, Any], name: str) -> float:
    row = evaluation["metrics"].get(name)
    return math.nan if row is None else float(row["value"])


def _first(evaluations: Sequence[dict[str, Any]], name: str) -> dict[str, Any]:
    """The row of a metric of the first evaluation that has it."""
    return next(each["metrics"][name] for each in evaluations if name in each["metrics"])


def _meaning(name: str, row: dict[str, Any], spec: Spec) -> str:
    """Whether a number is a bound, and which values are better, as a sentence."""
    bound = row.get("bound") or "an estimate, no bound"
    better = {True: "higher is better", False: "lower is better", None: "neither is better"}
    metrics = [each.cls for each in spec.evaluate]
    return f"{bound[0].upper()}{bound[1:]}; {better[is_higher_better(name, metrics)]}."


def _mean_seconds(units: Sequence[Unit]) -> float:
    return statistics.fmean(unit.usage.get("training_cpu_seconds", math.nan) for unit in units)


def spread(values: Sequence[float]) -> tuple[float, float]:
    """The mean of the numbers that are not NaN, and their standard deviation (NaN of one)."""
    known = [value for value in values if not math.isnan(value)]
    if not known:
        return math.nan, math.nan
    deviation = statistics.stdev(known) if len(known) > 1 else math.nan
    return statistics.fmean(known), deviation


def format_spread(values: Sequence[float]) -> str:
    """``mean ± standard deviation`` over seeds, or the one value; empty if there is none."""
    mean, deviation = spread(values)
    if math.isnan(mean):
        return ""
    return f"{mean:.4g}" if math.isnan(deviation) else f"{mean:.4g} ± {deviation:.2g}"
