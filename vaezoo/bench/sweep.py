"""A sweep: a suite of one spec, whose settings are given on the command line."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaezoo.bench.cases import Setting, cases_of
from vaezoo.bench.engine import Engine
from vaezoo.bench.ranges import Range
from vaezoo.bench.study import STUDY
from vaezoo.bench.suite import MAX_VALUES, PRUNABLE, Choice, Suite, Variant
from vaezoo.bench.units import Unit
from vaezoo.spec.changes import parse_override
from vaezoo.spec.load import load_spec
from vaezoo.utils.errors import UsageError

_NAME = "sweep"
_MEASURED = ("rate", "distortion")
_FORMS = "KEY=LOW..HIGH, KEY=LOW..HIGH:log (LOW > 0) or KEY=A,B,C"


def open_sweep(
    spec: Path,
    parameters: Sequence[str],
    *,
    metric: str,
    trials: int,
    out: Path,
    overrides: Sequence[str] = (),
    maximize: bool | None = None,
    prune: str | None = None,
) -> Engine:
    """The suite that tries different values of some options of a spec.

    Args:
        spec: the path of the spec.
        parameters: ``key=low..high``, ``key=low..high:log`` or ``key=a,b,c``.
        metric: the metric of the spec's ``evaluate`` that chooses, on the validation split.
        trials: the number of settings that are tried, in all calls together.
        out: the folder of the runs.
        overrides: changes of the spec that apply to every run.
        maximize: whether higher values of the metric are better; by default what the metric says.
        prune: a number of the validation records; trials in which it is worse than the median
            are ended early. None ends no trial.

    Raises:
        SpecError: the spec, or the option of a parameter, is not valid.
        UsageError: a parameter has another form, Python must give the data of the spec, the
            metric does not say which values are better, or the runs in ``out`` are of another
            sweep.
    """
    choose = _choices(parameters)
    if prune is not None and prune not in PRUNABLE:
        raise UsageError(f"--prune {prune}: must be one of {', '.join(PRUNABLE)}")
    seed = load_spec(spec, overrides).seed
    if (out / STUDY).exists():
        raise UsageError(f"{out}: is a sweep of an earlier version; choose another --out")
    suite = Suite(
        bench="vaezoo/bench/v1",
        name=_NAME,
        seeds=[seed],
        choose_by=Choice.model_validate(
            {
                **{"metric": metric, "seeds": [seed], "maximize": maximize},
                **{"trials": trials, "prune": prune},
            }
        ),
        set=list(overrides),
        variants={_NAME: Variant(spec=str(spec), choose=choose)},
    )
    engine = Engine(suite, cases_of(suite, Path()), out)
    engine.check()
    return engine


def _choices(parameters: Sequence[str]) -> dict[str, Any]:
    """The range or the values of each key.

    Raises:
        UsageError: a parameter has another form, or a key is named twice.
        SpecError: a value is not valid YAML.
    """
    choices: dict[str, Any] = {}
    for text in parameters:
        key, values = _parse(text)
        if key in choices:
            raise UsageError(f"--param {text!r}: {key} is varied twice; write all values at once")
        if len(values) > MAX_VALUES and isinstance(values, list):
            raise UsageError(f"--param {key}: {len(values)} values; at most {MAX_VALUES}")
        choices[key] = values
    return choices


def _parse(text: str) -> tuple[str, Any]:
    """The key of a parameter, and its range or values.

    Raises:
        UsageError: it has another form.
        SpecError: a value is not valid YAML.
    """
    key, equals, values = (part.strip() for part in text.partition("="))
    is_range = ".." in values and "," not in values
    if not equals or not values or (is_range and Range.parse(values) is None):
        raise UsageError(f"--param {text!r}: must be {_FORMS}")
    if is_range:
        return key, values
    return key, [_value(f"{key}={value}") for value in values.split(",")]


@dataclass(frozen=True)
class Trial:
    """A setting of a sweep.

    Attributes:
        number: in the order in which settings were tried.
        setting: its options.
        unit: its run.
        state: ``complete``, ``pruned``, ``failed`` or ``unfinished``.
        is_chosen: whether it has the best value of all.
    """

    number: int
    setting: Setting
    unit: Unit
    state: str
    is_chosen: bool

    def as_json(self) -> dict[str, Any]:
        """JSON values: the parameters, the run (None if there is none), and what was measured.

        Metrics are those of the validation split, and of the test split if it is the chosen one.
        """
        directory = self.unit.directory()
        test = _metrics(self.unit, "test") if self.is_chosen else {}
        return {
            "trial": self.number,
            "state": self.state,
            "parameters": {text.partition("=")[0]: _value(text) for text in self.setting},
            "chosen": self.is_chosen,
            "validation": _selected_record(self.unit) | _metrics(self.unit, "validation"),
            "test": test,
            "run": None if directory is None else str(directory.path),
        }


def sweep_trials(engine: Engine) -> list[Trial]:
    """The trials of a sweep."""
    case = engine.cases[0]
    units = list(dict.fromkeys(engine.units_of(case)))
    best = engine.best_setting(case, units)
    return [
        Trial(number, unit.setting, unit, _state(unit), unit.setting == best)
        for number, unit in enumerate(units)
    ]


def _state(unit: Unit) -> str:
    if unit.is_trained:  # also if its evaluation on the test split failed
        return "complete"
    if unit.failure:
        return "failed"
    return "pruned" if unit.is_pruned else "unfinished"


def _value(override: str) -> Any:
    return parse_override(override)[1].plain()


def _metrics(unit: Unit, split: str) -> dict[str, float]:
    rows = (unit.evaluation(split) or {}).get("metrics", {})
    return {name: row["value"] for name, row in rows.items()}


def _selected_record(unit: Unit) -> dict[str, float]:
    """The rate and the distortion of the validation record whose weights were selected."""
    directory = unit.directory()
    records = [] if directory is None else directory.records()
    validations = [record for record in records if record["split"] == "validation"]
    if not validations:
        return {}
    selected = max(validations, key=lambda record: record["best"] * record["step"])
    return {name: selected[name] for name in _MEASURED if name in selected}


def trial_table(
    records: Sequence[Mapping[str, Any]], metric: str
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """The headings and rows of the table of trials, with the split of each number."""
    measured = tuple(dict.fromkeys((metric, *_MEASURED)))
    validation = (f"validation {name}" for name in measured)
    headings = ("trial", "state", "parameters", *validation, f"test {metric}", "run")
    rows = [
        (
            str(record["trial"]),
            record["state"],
            " ".join(f"{key}={_format(value)}" for key, value in record["parameters"].items()),
            *(_number(record["validation"], name) for name in measured),
            _number(record["test"], metric),
            record["run"] or "",
        )
        for record in records
    ]
    return headings, rows


def _number(measured: Mapping[str, float], name: str) -> str:
    value = measured.get(name, math.nan)
    return "" if math.isnan(value) else f"{value:.4f}"


def _format(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
