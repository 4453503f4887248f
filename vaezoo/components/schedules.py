"""Schedules: numbers that depend on the training step, such as weights and temperatures."""

from __future__ import annotations

import math
from typing import Annotated

from annotated_types import Ge, Gt, Le

from vaezoo.model.objectives import Schedule

Step = Annotated[int, Gt(0)]


class Constant(Schedule):
    """A constant. A plain number in a spec means the same.

    Args:
        value: the number.
    """

    def __init__(self, *, value: float = 1.0) -> None:
        super().__init__()
        self.level = value

    def forward(self, step: int) -> float:
        """The same number at every step."""
        return self.level


class Linear(Schedule):
    """A linear ramp from one value to another, then constant.

    Args:
        start: the value at step 0.
        end: the value after the ramp.
        steps: the number of training steps of the ramp.
        delay: the number of training steps at ``start`` before the ramp begins.
    """

    def __init__(
        self,
        *,
        start: float = 0.0,
        end: float = 1.0,
        steps: Step,
        delay: Annotated[int, Ge(0)] = 0,
    ) -> None:
        super().__init__()
        self.start, self.end, self.steps, self.delay = start, end, steps, delay

    def forward(self, step: int) -> float:
        """The value at ``step``."""
        share = min(1.0, max(0, step - self.delay) / self.steps)
        return self.start + (self.end - self.start) * share


class Exponential(Schedule):
    """An exponential approach from one value to another, such as that of a temperature.

    The value is end + (start - end) exp(-rate step); Jang et al. 2017 anneal the temperature of
    the Gumbel-softmax in this way.

    Args:
        start: the value at step 0.
        end: the value that it approaches.
        rate: per training step.
    """

    def __init__(
        self, *, start: float = 1.0, end: float = 0.0, rate: Annotated[float, Gt(0)]
    ) -> None:
        super().__init__()
        self.start, self.end, self.rate = start, end, rate

    def forward(self, step: int) -> float:
        """The value at ``step``."""
        return self.end + (self.start - self.end) * math.exp(-self.rate * step)


class Cyclical(Schedule):
    """Repeated cycles of a linear ramp and a plateau (Fu et al. 2019), then constant at ``end``.

    Args:
        start: the value at the beginning of each cycle.
        end: the value of the plateau.
        steps: the number of training steps of all cycles together.
        cycles: the number of cycles.
        rise: the fraction of a cycle that the ramp takes.
    """

    def __init__(
        self,
        *,
        start: float = 0.0,
        end: float = 1.0,
        steps: Step,
        cycles: Annotated[int, Gt(0)] = 4,
        rise: Annotated[float, Gt(0), Le(1)] = 0.5,
    ) -> None:
        super().__init__()
        self.start, self.end, self.steps, self.cycles, self.rise = start, end, steps, cycles, rise

    def forward(self, step: int) -> float:
        """The value at ``step``."""
        if step >= self.steps:
            return self.end
        phase = (step * self.cycles / self.steps) % 1.0
        return self.start + (self.end - self.start) * min(1.0, phase / self.rise)
