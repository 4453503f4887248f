"""The table of a suite: each chosen setting with the mean and spread of its metrics over seeds."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vaezoo.bench.engine import Engine
from vaezoo.bench.suite import Case, setting_name
from vaezoo.bench.units import Unit


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes:
        name: the case.
        setting: the chosen setting, in short.
        seeds: those that are measured.
        values: the values of each metric, in the order of ``seeds``; NaN where one is missing.
        units: the unit of each metric.
        seconds: mean CPU seconds of training.
        runs: the folders of the runs.
    """

    name: str
    setting: str
    seeds: tuple[int, ...]
    values: dict[str, tuple[float, ...]]
    units: dict[str, str]
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
    setting = units[0].setting
    return Row(
        name=case.name,
        setting=setting_name(setting) if len(case.settings()) > 1 else "",
        seeds=tuple(unit.seed for unit in units),
        values={name: tuple(_value(each, name) for each in evaluations) for name in names},
        units={name: _unit(evaluations, name) for name in names},
        seconds=_mean_seconds(units),
        runs=tuple(str(unit.directory().path) for unit in units),
    )


def _value(evaluation: dict[str, Any], name: str) -> float:
    row = evaluation["metrics"].get(name)
    return math.nan if row is None else float(row["value"])


def _unit(evaluations: Sequence[dict[str, Any]], name: str) -> str:
    return next(
        str(each["metrics"][name]["unit"]) for each in evaluations if name in each["metrics"]
    )


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
