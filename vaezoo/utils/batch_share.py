"""What one process has of the batch of a training step.

Shapes: N examples in the batch of all processes, B of them in this process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from vaezoo.utils.process_group import ProcessGroup


@dataclass(frozen=True)
class BatchShare:
    """What one process has of a batch while the loss of a training step is computed.

    A term that depends on all examples of a batch takes it from ``current()``, so that several
    processes compute together what one would. Gradients flow through ``mean``, ``gather`` and
    ``logsumexp``. Every process must call the methods in the same order. In a single process, and
    outside of a training step, they return what they are given.

    Such a component sets ``pools_examples``, so that ``train.accumulate`` above 1 is refused: the
    parts of a batch are not in memory together.

    Attributes:
        processes: the processes that train together.
        size: N; 0 outside of a training step.
        examples: the batch of this process before it is divided into parts; None outside of a
            training step.
        parts: the number of parts that the batch of each process is divided into.
    """

    processes: ProcessGroup = field(default_factory=ProcessGroup)
    size: int = 0
    examples: Any = None
    parts: int = 1
    _counts: dict[Callable[[Any], Tensor], Tensor] = field(default_factory=dict)

    @staticmethod
    def current() -> BatchShare:
        """The share in the training step that is being computed."""
        return _current

    @contextmanager
    def active(self) -> Iterator[None]:
        """Within, it is the current one."""
        global _current
        previous, _current = _current, self
        try:
            yield
        finally:
            _current = previous

    @property
    def own(self) -> slice:
        """The places of this process's examples in the batch of all processes."""
        return slice(self.processes.rank, None, self.processes.size)

    def mean(self, own_mean: Tensor) -> Tensor:
        """The mean over the batch, from the mean over this process's examples.

        Args:
            own_mean: of any shape.
        """
        self._check_whole()
        if self.processes.size == 1:
            return own_mean
        own_size = len(range(self.size)[self.own])
        return _sum(own_mean * (own_size / self.size), self.processes)

    def gather(self, values: Tensor, dim: int = 0) -> Tensor:
        """The values of all examples, in the order of the batch.

        Args:
            values: of this process's examples, with B elements in dimension ``dim``.
            dim: the dimension of examples.

        Returns:
            The same shape with N in place of B; this process's values are at ``own``.
        """
        self._check_whole()
        if self.processes.size == 1:
            return values
        places = torch.arange(self.size, device=values.device)[self.own]
        shape = [*values.shape]
        shape[dim] = self.size
        return _sum(values.new_zeros(shape).index_copy(dim, places, values), self.processes)

    def logsumexp(self, values: Tensor) -> Tensor:
        """The logarithm of the sum of exp(values) over processes, elementwise.

        Args:
            values: of any shape that is the same in every process.
        """
        self._check_whole()
        if self.processes.size == 1:
            return values
        place = torch.tensor([self.processes.rank], device=values.device)
        each = values.new_zeros(self.processes.size, *values.shape)  # [processes, *]
        return _sum(each.index_copy(0, place, values[None]), self.processes).logsumexp(0)

    def of_main(self, values: Tensor) -> Tensor:
        """The values of the main process, such as random numbers that all are to use."""
        self._check_whole()
        return self.processes.broadcast(values)

    def count(self, chosen: Callable[[Any], Tensor], batch: Any) -> tuple[Tensor, int]:
        """How many examples of the whole batch are chosen, such as those with a label.

        It counts those of all processes and all parts, once for each optimizer step, so that
        ``train.accumulate`` makes no difference.

        Args:
            chosen: maps a batch to booleans ``[B]``, by the data alone; it is the same function in
                every part, such as a method.
            batch: the examples of the pass, which are counted outside of a training step.

        Returns:
            The number of those that are chosen, and that of all.
        """
        if self.examples is None:
            return chosen(batch).sum(), len(batch)
        if chosen not in self._counts:
            self._counts[chosen] = self.processes.sum(chosen(self.examples).sum())
        return self._counts[chosen], self.size

    def _check_whole(self) -> None:
        """Raises ValueError if a pass has only a part of the batch of this process."""
        if self.parts > 1:
            raise ValueError(
                "a term of all examples of a batch was computed from a part of it: its component "
                "must set pools_examples, so that accumulate is refused; use accumulate: 1"
            )


_current = BatchShare()


class _Sum(torch.autograd.Function):
    """The sum over processes; the gradient is that of the sum of the losses of all processes."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, processes: ProcessGroup) -> Tensor:
        ctx.processes = processes
        return processes.sum(values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _sum(gradient, ctx.processes), None


def _sum(values: Tensor, processes: ProcessGroup) -> Tensor:
    total: Tensor = _Sum.apply(values, processes)
    return total
