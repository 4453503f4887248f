"""What failed in a suite, and why."""

from __future__ import annotations

from vaezoo.bench.cases import Case
from vaezoo.bench.engine import Engine
from vaezoo.bench.units import FAILURE, value_of
from vaezoo.utils.errors import did_you_mean
from vaezoo.utils.files import read_json


def failures(engine: Engine) -> list[tuple[str, str]]:
    """The names of the cases and runs that failed, and why."""
    failed = []
    for case in engine.cases:
        path = engine.folder(case) / FAILURE
        if path.is_file():
            failed.append((case.name, str(read_json(path)["error"])))
        failed += [(unit.name, unit.failure) for unit in engine.units_of(case) if unit.failure]
        if reason := _why_nothing_is_chosen(engine, case):
            failed.append((case.name, reason))
    return list(dict.fromkeys(failed))


def _why_nothing_is_chosen(engine: Engine, case: Case) -> str:
    """Why runs that ended have no value to choose by; empty if one setting has."""
    metric, units = engine.suite.choose_by.metric, engine.choosing_units(case)
    trained = [unit for unit in units if unit.is_trained]
    if not trained or not all(unit.has_ended for unit in units):
        return ""
    if engine.best_setting(case, units) is not None:
        return ""
    without = [unit for unit in trained if value_of(unit, "validation", metric) is None]
    evaluation = without[0].evaluation("validation") if without else None
    if evaluation is None:
        return f"no setting has {metric!r} for every seed that chooses"
    known, undefined = evaluation["metrics"], evaluation.get("undefined", {})
    reasons = "; ".join(f"{name} is not defined: {why}" for name, why in undefined.items())
    return (
        f"the evaluation of the validation split has no {metric!r}"
        f"{did_you_mean(metric, known)}{f' ({reasons})' if reasons else ''}"
    )
