"""What each step measured, kept on the device until it is read once per log interval."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from vaezoo.training.process_group import ProcessGroup

_AT_ONCE = 50
"""Steps whose terms are kept for each example: a few MiB at the most."""


class NonFiniteError(ArithmeticError):
    """A term is NaN or infinite.

    Attributes:
        term: its name.
        step: the first optimizer step at which it was.
        value: what it was.
    """

    def __init__(self, term: str, step: int, value: float) -> None:
        self.term, self.step, self.value = term, step, value
        super().__init__(f"{term} is {value} at step {step}")


class MetricLogger:
    """Gathers the terms of each step without waiting for the device.

    A step leaves its terms as they are; they are averaged many steps at a time, while the code that does so is warm.
    """

    def __init__(self, process_group: ProcessGroup) -> None:
        self.process_group = process_group
        self.names: tuple[str, ...] = ()
        self.fresh: list[tuple[tuple[Tensor, ...], float]] = []
        self.rows: list[Tensor] = []
        self.examples = 0
        self.first_step = 0
        self.started = time.perf_counter()

    @property
    def is_read(self) -> bool:
        """Whether nothing has come in since the last reading."""
        return not self.fresh and not self.rows

    def add(self, step: int, terms: Mapping[str, Tensor], examples: int) -> None:
        """Takes in the terms of one step.

        Args:
            step: counted from 0.
            terms: for each of this process's examples, ``[B]``.
            examples: how many examples all processes had together.
        """
        if self.is_read:
            self.names, self.first_step = tuple(terms), step
        values = tuple(terms.values())
        self.fresh.append((values, len(values[0]) * self.process_group.size / examples))
        self.examples += examples
        if len(self.fresh) >= _AT_ONCE:
            self._average()

    def _average(self) -> None:
        """Turns what is fresh into rows ``[terms]``, scaled so that their mean over processes is that over examples."""
        for values, share in self.fresh:
            row = torch.stack(values).mean(1)
            self.rows.append(row if share == 1 else row * share)
        self.fresh = []

    def latest(self) -> dict[str, Tensor]:
        """The mean of each term over the examples of the last step, still on the device."""
        self._average()
        return dict(zip(self.names, self.process_group.mean(self.rows[-1]).unbind(), strict=True))

    def peek(self) -> dict[str, float]:
        """The means of each term since the last reading, which stays open.

        Raises:
            NonFiniteError: a term was NaN or infinite; names the first.
        """
        if self.is_read:
            return {}
        self._average()
        table = self.process_group.mean(torch.stack(self.rows)).double().cpu()
        for offset, row in enumerate(table.tolist()):
            for name, value in sorted(zip(self.names, row, strict=True), key=lambda item: item[0] == "loss"):
                if not math.isfinite(value):
                    raise NonFiniteError(name, self.first_step + offset + 1, value)
        return dict(zip(self.names, table.mean(0).tolist(), strict=True))

    def read(self) -> dict[str, float]:
        """The means since the last reading, and the speed.

        Raises:
            NonFiniteError: a term was NaN or infinite; names the first.
        """
        means = self.peek()
        if means:
            elapsed = time.perf_counter() - self.started
            means["examples_per_second"] = round(self.examples / max(elapsed, 1e-9), 1)
        self.rows, self.examples = [], 0
        return means

    def state(self) -> dict[str, Any]:
        """What has not been read yet, for a checkpoint."""
        self._average()
        rows = torch.stack(self.rows) if self.rows else None
        return {"names": list(self.names), "rows": rows, "first_step": self.first_step}

    def restore(self, state: dict[str, Any], device: torch.device) -> None:
        """Takes up a state that ``state`` gave."""
        self.fresh, self.names = [], tuple(state["names"])
        self.examples, self.first_step = 0, state["first_step"]  # the clock begins anew, so must what it counts
        self.rows = [] if state["rows"] is None else list(state["rows"].to(device).unbind())

    def restart_clock(self) -> None:
        """Begins a new interval, so that validation and checkpoints are not counted as training."""
        self.started = time.perf_counter()
