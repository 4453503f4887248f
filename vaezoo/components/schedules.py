"""Schedules: the weight of a regularizer over time."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Gt, Le

from vaezoo.model.objectives import Schedule

Step = Annotated[int, Gt(0)]


class Constant(Schedule):
    """One weight throughout. A bare number in a spec is this.

    Args:
        value: the weight.
    """

    def __init__(self, *, value: float = 1.0) -> None:
        super().__init__()
        self.value = value

    def forward(self, step: int) -> float:
        """``value``."""
        return self.value


class Linear(Schedule):
    """From one weight to another in a straight line, then constant.

    Args:
        start: the weight at step 0.
        end: the weight from step ``steps`` on.
        steps: how many optimizer steps it takes.
    """

    def __init__(self, *, start: float = 0.0, end: float = 1.0, steps: Step) -> None:
        super().__init__()
        self.start, self.end, self.steps = start, end, steps

    def forward(self, step: int) -> float:
        """The weight at ``step``."""
        return self.start + (self.end - self.start) * min(1.0, step / self.steps)


class Cyclical(Schedule):
    """Rises and holds, again and again (Fu et al. 2019), then stays at ``end``.

    Args:
        start: the weight at the beginning of each cycle.
        end: the weight held at the end of each cycle.
        steps: how many optimizer steps all cycles take together.
        cycles: how many there are.
        rise: the share of a cycle spent rising.
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
        """The weight at ``step``."""
        if step >= self.steps:
            return self.end
        phase = (step * self.cycles / self.steps) % 1.0
        return self.start + (self.end - self.start) * min(1.0, phase / self.rise)
