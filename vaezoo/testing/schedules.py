"""Promises of schedules: the value is a function of the step."""

from __future__ import annotations

import math
from typing import Any

from vaezoo.model.objectives import Schedule
from vaezoo.testing.case import Bench, Case
from vaezoo.testing.promise import Rule

_LARGEST = 3e38
_STEPS = (0, 1, 2, 5, 9, 100, 10**6)


def _schedule(bench: Bench) -> Schedule:
    own: Any = bench.parts[0]
    return own


def check_order(case: Case) -> None:
    """The value at a step does not depend on which steps were asked before."""
    first, second = (_schedule(case.compose(0)) for _ in range(2))
    forwards = {step: float(first(step)) for step in _STEPS}
    backwards = {step: float(second(step)) for step in reversed(_STEPS)}
    again = {step: float(first(step)) for step in _STEPS}
    for step in _STEPS:
        assert forwards[step] == backwards[step] == again[step], (
            f"the value at step {step} depends on the calls before, not on the step alone: "
            f"{forwards[step]:g}, {backwards[step]:g}; compute it from `step`, and keep what "
            "adapts itself in buffers that after_step changes"
        )


def check_numbers(case: Case) -> None:
    """The value is a finite number at every step."""
    schedule = _schedule(case.compose(0))
    for step in _STEPS:
        value = float(schedule(step))
        assert abs(value) < _LARGEST, (
            f"the value at step {step} is {value}, no finite number in fp32; limit it"
        )
        schedule.set_step(step)
        assert math.isclose(float(schedule.value), value, rel_tol=1e-6), (
            f"`value` is {float(schedule.value)} after set_step({step}), not forward({step}) = "
            f"{value}; do not override set_step"
        )


RULES = (
    Rule("depends on the step alone", ("schedule",), check_order),
    Rule("is finite at every step", ("schedule",), check_numbers),
)
"""Promises of schedules."""
