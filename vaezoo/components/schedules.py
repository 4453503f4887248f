"""Schedules: the weight of a regularizer at each optimizer step."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Gt, Le

from vaezoo.model.objectives import Schedule

Step = Annotated[int, Gt(0)]


class Constant(Schedule):
    """A constant weight. A plain number in a spec means the same.

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
    """A linear ramp from one weight to another, then constant.

    Args:
        start: the weight at step 0.
        end: the weight from step ``steps`` on.
        steps: the number of optimizer steps of the ramp.
    """

    def __init__(self, *, start: float = 0.0, end: float = 1.0, steps: Step) -> None:
        super().__init__()
        self.start, self.end, self.steps = start, end, steps

    def forward(self, step: int) -> float:
        """The weight at ``step``."""
        return self.start + (self.end - self.start) * min(1.0, step / self.steps)


class Cyclical(Schedule):
    """Repeated cycles of a linear ramp and a plateau (Fu et al. 2019), then constant at ``end``.

    Args:
        start: the weight at the beginning of each cycle.
        end: the weight of the plateau.
        steps: the number of optimizer steps of all cycles together.
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
        """The weight at ``step``."""
        if step >= self.steps:
            return self.end
        phase = (step * self.cycles / self.steps) % 1.0
        return self.start + (self.end - self.start) * min(1.0, phase / self.rise)
