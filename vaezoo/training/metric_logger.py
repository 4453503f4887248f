"""Averages the terms of each training step, on the device until a record is due."""

from __future__ import annotations

import time
from collections.abc import Mapping

import torch
from torch import Tensor

from vaezoo.training.state import MetricLoggerState, MetricTable
from vaezoo.utils.process_group import ProcessGroup

_MAX_PENDING = 50
"""The number of steps whose terms are stored per example before averaging: a few MiB at most."""


class NonFiniteError(ArithmeticError):
    """A term is NaN or infinite.

    Attributes:
        term: its name.
        step: the first training step with such a value, counted from 1.
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
        self.pending: list[tuple[int, Mapping[str, Tensor], float]] = []
        self.tables: dict[tuple[str, ...], list[tuple[int, Tensor]]] = {}
        """The rows of each set of terms, with their steps: not every phase has every step."""
        self.latest_names: tuple[str, ...] = ()
        self.examples = 0
        self.started = time.perf_counter()

    @property
    def is_empty(self) -> bool:
        """Whether no step was added since the last ``read``."""
        return not self.pending and not self.tables

    def add(self, step: int, terms: Mapping[str, Tensor], examples: int) -> None:
        """Stores the terms of one step.

        Args:
            step: counted from 0.
            terms: of each of this process's examples, ``[B]``.
            examples: the number of examples of all processes.
        """
        # the mean over processes of (mean * weight) is the mean over all examples
        weight = len(next(iter(terms.values()))) * self.process_group.size / examples
        self.pending.append((step, terms, weight))
        self.latest_names = tuple(terms)
        self.examples += examples
        if len(self.pending) >= _MAX_PENDING:
            self._average()

    def _average(self) -> None:
        """Averages the pending steps to rows ``[terms]``, weighted by this process's share."""
        for step, terms, weight in self.pending:
            row = torch.stack(tuple(terms.values())).mean(1)
            rows = self.tables.setdefault(tuple(terms), [])
            rows.append((step, row if weight == 1 else row * weight))
        self.pending = []

    def latest(self) -> dict[str, Tensor]:
        """The mean of each term over the examples of the last step, scalars on the device."""
        self._average()
        _, row = self.tables[self.latest_names][-1]
        return dict(zip(self.latest_names, self.process_group.mean(row).unbind(), strict=True))

    def peek(self) -> dict[str, float]:
        """The means of each term since the last ``read``, without starting a new interval.

        Raises:
            NonFiniteError: a term was NaN or infinite; names the first.
        """
        self._average()
        columns: dict[str, list[Tensor]] = {}
        faults: list[tuple[int, bool, int, str, float]] = []
        for names, rows in self.tables.items():
            means = torch.stack([row for _, row in rows])  # [steps, terms]
            table = self.process_group.mean(means).double().cpu()
            for index, column in (~table.isfinite()).nonzero().tolist():
                # the loss last, because the term that made it non-finite is more informative
                name, value = names[column], float(table[index, column])
                faults.append((rows[index][0], name.endswith("loss"), column, name, value))
            for name, values in zip(names, table.unbind(1), strict=True):
                columns.setdefault(name, []).append(values)
        if faults:
            step, _, _, name, value = min(faults)
            raise NonFiniteError(name, step + 1, value)
        return {name: float(torch.cat(values).mean()) for name, values in columns.items()}

    def read(self) -> dict[str, float]:
        """The means since the last ``read`` and ``examples_per_second``; starts a new interval.

        Raises:
            NonFiniteError: a term was NaN or infinite; names the first.
        """
        means = self.peek()
        if means:
            elapsed = time.perf_counter() - self.started
            means["examples_per_second"] = round(self.examples / max(elapsed, 1e-9), 1)
        self.tables, self.examples = {}, 0
        return means

    def state(self) -> MetricLoggerState:
        """The steps since the last ``read``, for a checkpoint, averaged over processes."""
        self._average()
        tables: list[MetricTable] = [
            {
                "names": list(names),
                "steps": [step for step, _ in rows],
                "rows": self.process_group.mean(torch.stack([row for _, row in rows])),
            }
            for names, rows in self.tables.items()
        ]
        return {"tables": tables}

    def restore(self, state: MetricLoggerState, device: torch.device) -> None:
        """Restores a state that ``state`` returned."""
        # examples start at 0, because the clock does not include the time before the checkpoint
        self.pending, self.examples = [], 0
        self.tables = {
            tuple(table["names"]): list(
                zip(table["steps"], table["rows"].to(device).unbind(), strict=True)
            )
            for table in state["tables"]
        }

    def restart_clock(self) -> None:
        """Restarts the clock, so that validation and checkpoints do not count as training time."""
        self.started = time.perf_counter()
