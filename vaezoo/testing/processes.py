"""The promise that several processes compute what one would; emulated by threads.

Only one of the threads runs at a time. A thread gives way where it exchanges something with the
others, so that one thread after the other reaches each exchange, as processes would.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from vaezoo.testing.case import Bench, Case
from vaezoo.testing.initial import CERTAIN_KINDS, require_certain
from vaezoo.testing.noise import steady
from vaezoo.testing.passes import BATCH_NORMS, PASS_KINDS, differs
from vaezoo.testing.promise import Rule
from vaezoo.testing.state import Training
from vaezoo.utils import batch_share
from vaezoo.utils.process_group import ProcessGroup

_SIZE, _STEPS, _SECONDS = 2, 2, 60.0


@dataclass
class Exchange:
    """Where emulated processes meet: each leaves a value, and all get the values of all."""

    turn: int = 0
    values: list[list[Any]] = field(default_factory=list)
    failed: bool = False
    finished: set[int] = field(default_factory=set)
    condition: threading.Condition = field(default_factory=threading.Condition)

    def wait_for_turn(self, rank: int) -> None:
        """Waits until it is the turn of a process.

        Raises:
            RuntimeError: another process has failed, or left the exchange to this one.
        """
        with self.condition:
            ready = self.condition.wait_for(
                lambda: self.failed or self.turn == rank or len(self.finished) == _SIZE - 1,
                _SECONDS,
            )
            if self.failed or not ready:
                raise RuntimeError("another process failed, or exchanged another number of values")

    def give_way(self, rank: int) -> None:
        """Lets the next process run."""
        with self.condition:
            self.turn = (rank + 1) % _SIZE
            self.condition.notify_all()

    def meet(self, rank: int, index: int, value: Any) -> list[Any]:
        """The values of all processes at the exchange number ``index``."""
        if index == len(self.values):
            self.values.append([])
        self.values[index].append(value)
        own_share = batch_share._current
        self.give_way(rank)
        self.wait_for_turn(rank)
        batch_share._current = own_share
        if len(self.values[index]) < _SIZE:
            raise RuntimeError("the processes exchange different numbers of values")
        return self.values[index]


@dataclass(frozen=True)
class EmulatedGroup(ProcessGroup):
    """One of the processes that threads emulate.

    Attributes:
        exchange: where they meet.
        count: how often this process has met the others.
    """

    exchange: Exchange = field(default_factory=Exchange)
    count: list[int] = field(default_factory=lambda: [0])

    def _all(self, value: Tensor) -> list[Tensor]:
        index, self.count[0] = self.count[0], self.count[0] + 1
        values = self.exchange.meet(self.rank, index, value.detach().clone())
        if len({each.shape for each in values}) > 1:
            raise RuntimeError("the processes exchange different numbers of values")
        return values

    def sum_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Sums the gradients over processes; missing gradients count as 0."""
        for parameter in parameters:
            own = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            parameter.grad = self.sum(own)

    def sum(self, values: Tensor) -> Tensor:
        """The sum over processes."""
        return torch.stack(self._all(values)).sum(0).to(values.dtype)

    def mean(self, values: Tensor) -> Tensor:
        """The mean over processes."""
        return self.sum(values) / self.size

    def broadcast(self, tensor: Tensor) -> Tensor:
        """Copies the values of the main process."""
        tensor.detach().copy_(self._all(tensor)[0])
        return tensor


def _train_emulated(benches: Sequence[Bench]) -> None:
    """Takes training steps of tasks in emulated processes, each with its share of the batches.

    Raises:
        Exception: what a process raised first.
    """
    exchange, errors = Exchange(), []

    def work(rank: int, bench: Bench) -> None:
        try:
            exchange.wait_for_turn(rank)
            group = EmulatedGroup(rank, _SIZE, exchange)
            batch_share._current = batch_share.BatchShare()
            with steady(), bench.task.active():
                training = Training(bench, group)
                for step in range(_STEPS):
                    training.step(step)
        except Exception as error:
            errors.append(error)
            exchange.failed = True
        exchange.finished.add(rank)
        exchange.give_way(rank)

    threads = [threading.Thread(target=work, args=pair) for pair in enumerate(benches)]
    before = batch_share._current
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        batch_share._current = before
    if errors:
        raise errors[0]


def check_processes(case: Case) -> None:
    """Two processes with half of each batch compute what one computes with all of it."""
    if case.kind in CERTAIN_KINDS:  # noise in evaluation would be taken for another mistake
        require_certain(case.compose())
    single, *both = (case.compose(0) for _ in range(1 + _SIZE))
    with steady(), single.task.active():
        training = Training(single)
        for step in range(_STEPS):
            training.step(step)
    _train_emulated(both)
    one = single.task.state_dict()
    first, second = (bench.task.state_dict() for bench in both)
    for name, value in first.items():
        assert not differs(value, second[name], 1e-6), (
            f"two processes drift apart: {name} is not the same in both after {_STEPS} steps; "
            "exchange what depends on examples, by result.processes in after_step or by "
            "vaezoo.BatchShare in a pass"
        )
        assert not differs(value, one[name], 1e-3), (
            f"two processes compute something else than one: {name} differs after {_STEPS} steps; "
            "divide by no size of a batch, and take a term of the whole batch from "
            "vaezoo.BatchShare.current(), with pools_examples = True"
        )


def _is_comparable(case: Case) -> bool:
    """Whether nothing but the component could make a difference: batch norm does."""
    return not case.probe.has(*BATCH_NORMS)


RULES = (
    Rule(
        "two processes compute what one does",
        (*PASS_KINDS, "schedule"),
        check_processes,
        applies=_is_comparable,
    ),
)
"""The promise about several processes."""
