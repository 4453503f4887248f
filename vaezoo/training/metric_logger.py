"""Averages the terms of each training step, on the device until a record is due."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping

import torch
from torch import Tensor

from vaezoo.training.process_group import ProcessGroup
from vaezoo.training.state import MetricLoggerState

_MAX_PENDING = 50
"""The number of steps whose terms are stored per example before averaging: a few MiB at most."""


class NonFiniteError(ArithmeticError):
    """A term is NaN or infinite.

    Attributes:
        term: its name.
        step: the first optimizer step with such a value, counted from 1.
        value: the value.
    """

    def __init__(self, term: str, step: int, value: float) -> None:
        self.term, self.step, self.value = term, step, value
        super().__init__(f"{term} is {value} at step {step}")


class MetricLogger:
    """Collects the terms of each step without waiting for the device.

    ``add`` stores the tensors of a step. They are averaged many steps at a time, which is faster
    than after every step.
    """

    def __init__(self, process_group: ProcessGroup) -> None:
        self.process_group = process_group
        self.names: tuple[str, ...] = ()
        self.pending: list[tuple[tuple[Tensor, ...], float]] = []
        self.rows: list[Tensor] = []
        self.examples = 0
        self.first_step = 0
        self.started = time.perf_counter()

    @property
    def is_empty(self) -> bool:
        """Whether no step was added since the last ``read``."""
        return not self.pending and not self.rows

    def add(self, step: int, terms: Mapping[str, Tensor], examples: int) -> None:
        """Stores the terms of one step.

        Args:
            step: counted from 0.
            terms: of each of this process's examples, ``[B]``.
            examples: the number of examples of all processes.
        """
        if self.is_empty:
            self.names, self.first_step = tuple(terms), step
        values = tuple(terms.values())
        # the mean over processes of (mean * weight) is the mean over all examples
        weight = len(values[0]) * self.process_group.size / examples
        self.pending.append((values, weight))
        self.examples += examples
        if len(self.pending) >= _MAX_PENDING:
            self._average()

    def _average(self) -> None:
        """Averages the pending steps to rows ``[terms]``, weighted by this process's share."""
        for values, weight in self.pending:
            row = torch.stack(values).mean(1)
            self.rows.append(row if weight == 1 else row * weight)
        self.pending = []

    def latest(self) -> dict[str, Tensor]:
        """The mean of each term over the examples of the last step, scalars on the device."""
        self._average()
        means = self.process_group.mean(self.rows[-1])
        return dict(zip(self.names, means.unbind(), strict=True))

    def peek(self) -> dict[str, float]:
        """The means of each term since the last ``read``, without starting a new interval.

        Raises:
            NonFiniteError: a term was NaN or infinite; names the first.
        """
        if self.is_empty:
            return {}
        self._average()
        table = self.process_group.mean(torch.stack(self.rows)).double().cpu()  # [steps, terms]
        for offset, row in enumerate(table.tolist()):
            terms = zip(self.names, row, strict=True)
            # the loss last, because the term that made it non-finite is more informative
            for name, value in sorted(terms, key=lambda term: term[0] == "loss"):
                if not math.isfinite(value):
                    raise NonFiniteError(name, self.first_step + offset + 1, value)
        return dict(zip(self.names, table.mean(0).tolist(), strict=True))

    def read(self) -> dict[str, float]:
        """The means since the last ``read`` and ``examples_per_second``; starts a new interval.

        Raises:
            NonFiniteError: a term was NaN or infinite; names the first.
        """
        means = self.peek()
        if means:
            elapsed = time.perf_counter() - self.started
            means["examples_per_second"] = round(self.examples / max(elapsed, 1e-9), 1)
        self.rows, self.examples = [], 0
        return means

    def state(self) -> MetricLoggerState:
        """The steps since the last ``read``, for a checkpoint."""
        self._average()
        rows = torch.stack(self.rows) if self.rows else None
        return {"names": list(self.names), "rows": rows, "first_step": self.first_step}

    def restore(self, state: MetricLoggerState, device: torch.device) -> None:
        """Restores a state that ``state`` returned."""
        self.pending, self.names = [], tuple(state["names"])
        # examples start at 0, because the clock does not include the time before the checkpoint
        self.examples, self.first_step = 0, state["first_step"]
        rows = state["rows"]
        self.rows = [] if rows is None else list(rows.to(device).unbind())

    def restart_clock(self) -> None:
        """Restarts the clock, so that validation and checkpoints do not count as training time."""
        self.started = time.perf_counter()
