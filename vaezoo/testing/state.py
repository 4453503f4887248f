"""Promises about what changes: in training only, in weights and buffers only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

from vaezoo.model.component import StepResult
from vaezoo.testing.case import CPU, Bench, Case
from vaezoo.testing.noise import steady
from vaezoo.testing.passes import PASS_KINDS, results, same_bits
from vaezoo.testing.promise import Rule
from vaezoo.testing.seeds import generated
from vaezoo.training.phase_optimizer import PhaseOptimizer
from vaezoo.utils.process_group import ProcessGroup
from vaezoo.utils.seeds import seeded

_STEPS = 3
"""The number of training steps before and after a resume."""
_PLAIN = (int, float, str, tuple, list, dict, Tensor, type(None))
TRAINED_KINDS = (*PASS_KINDS, "schedule")


class Training:
    """Training steps of a task, as the trainer takes them.

    Args:
        bench: the task and its batches.
        processes: the processes that train together.
    """

    def __init__(self, bench: Bench, processes: ProcessGroup | None = None) -> None:
        self.bench, self.processes = bench, processes or ProcessGroup()
        self.task = bench.task
        config = bench.stage.train
        self.optimizers = [
            PhaseOptimizer(
                phase,
                task=self.task,
                config=config,
                total_steps=2 * _STEPS,
                process_group=self.processes,
            )
            for phase in self.task.phases()
        ]

    def step(self, step: int) -> Tensor:
        """Takes one training step; returns the loss of each example ``[B]``."""
        rank, size = self.processes.rank, self.processes.size
        whole = self.bench.batch if step % 2 == 0 else self.bench.others
        batch = whole.select(slice(rank, None, size)).map(Tensor.clone)
        self.task.train()
        self.task.set_step(step)
        metrics: dict[str, Tensor] = {}
        for optimizer in self.optimizers:
            if optimizer.phase.is_due(step):
                terms = optimizer.step(batch, len(whole), False)
                prefix = f"{optimizer.name}/" if metrics else ""
                metrics |= {f"{prefix}{name}": value for name, value in terms.items()}
        result = StepResult(
            step=step,
            model=self.task.model,
            processes=self.processes,
            read_terms=lambda: self._means(metrics, len(batch) / len(whole)),
        )
        self.task.after_step(result)
        return metrics["loss"]

    def _means(self, metrics: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
        own = {name: value.mean() * share for name, value in metrics.items()}
        return {name: self.processes.sum(value) for name, value in own.items()}

    def run(self, steps: Sequence[int]) -> list[Tensor]:
        """The losses of several steps, each with random numbers of its own."""
        losses = []
        with self.task.active():
            for step in steps:
                with seeded(CPU, "promise", "step", step):
                    losses.append(self.step(step).detach().clone())
        return losses


def check_resume(case: Case) -> None:
    """A resumed training computes the same bits."""
    first = case.compose(0, anew=True)
    training = Training(first)
    before = attributes(first)
    training.run(range(_STEPS))
    saved = {name: value.clone() for name, value in first.task.state_dict().items()}
    states = [optimizer.state() for optimizer in training.optimizers]
    after = attributes(first)
    second = case.compose(0, anew=True)
    second.task.load_state_dict(saved)
    resumed = Training(second)
    for optimizer, state in zip(resumed.optimizers, states, strict=True):
        optimizer.restore(_copied(state))
    later = range(_STEPS, 2 * _STEPS)
    losses = training.run(later), resumed.run(later)
    is_same = all(same_bits(*pair) for pair in zip(*losses, strict=True))
    if is_same and same_state(first, second):
        return
    name = changed_attribute(before, after)
    lost = f"attribute {name!r} changes in training and" if name else "a state that"
    raise AssertionError(
        f"{lost} a resume loses: after it the next steps compute something else; keep it in a "
        "buffer (register_buffer) that state_dict() contains, and change it in place"
    )


def _copied(state: Any) -> Any:
    """A state without shared tensors."""
    if isinstance(state, Tensor):
        return state.clone()
    if isinstance(state, dict):
        return {key: _copied(value) for key, value in state.items()}
    return [_copied(value) for value in state] if isinstance(state, list) else state


def same_state(first: Bench, second: Bench) -> bool:
    """Whether two tasks have the same weights, and compute the same in evaluation mode."""
    one, other = first.task.state_dict(), second.task.state_dict()
    if not all(same_bits(one[name], other[name]) for name in one):
        return False
    losses, samples = [], []
    for bench in (first, second):
        bench.task.eval()
        with seeded(CPU, "promise", "evaluation"):
            losses.append(bench.task(bench.batch)[0])
        with suppress(NotImplementedError, ValueError):
            samples.append(generated(bench, 1))
    return same_bits(*losses) and (len(samples) < 2 or same_bits(*samples))


def attributes(bench: Bench) -> dict[str, Any]:
    """The plain attributes and the buffers that are not saved, of the component under test."""
    found: dict[str, Any] = {}
    for part in bench.parts:
        for path, module in part.named_modules():
            saved = module._non_persistent_buffers_set
            values = {name: module._buffers[name] for name in saved}
            plain = {
                k: v for k, v in vars(module).items() if not k.startswith("_") or k[1:2] != "_"
            }
            values |= {k: v for k, v in plain.items() if k not in _OF_MODULES}
            for name, value in values.items():
                if isinstance(value, _PLAIN):
                    key = f"{path}.{name}" if path else name
                    found[key] = value.clone() if isinstance(value, Tensor) else _frozen(value)
    return found


_OF_MODULES = frozenset({*vars(nn.Module()), "training"})
"""The attributes that every module has."""


def _frozen(value: Any) -> Any:
    """A value that does not change with its container."""
    return repr(value) if isinstance(value, list | dict) else value


def changed_attribute(values: Mapping[str, Any], others: Mapping[str, Any]) -> str | None:
    """The first of ``attributes`` that has another value among the others; None if none has."""
    return next((k for k, v in values.items() if not _same_value(v, others.get(k))), None)


def _same_value(first: Any, second: Any) -> bool:
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        return first.shape == second.shape and torch.equal(first, second)
    return type(first) is type(second) and bool(first == second)


def check_evaluation(case: Case) -> None:
    """Passes in evaluation mode and passes for other phases change no buffer."""
    bench = case.compose()
    before = {name: value.clone() for name, value in bench.task.named_buffers()}
    bench.task.eval()
    with steady():
        results(bench, bench.batch)
        bench.task(bench.others)
    _require_same(bench, before, "a pass in evaluation mode")
    bench.task.train()
    bench.model.infer_detached(bench.others)
    _require_same(bench, before, "a pass without gradients, such as one for another phase,")


def _require_same(bench: Bench, before: Mapping[str, Tensor], what: str) -> None:
    for name, value in bench.task.named_buffers():
        assert same_bits(value, before[name]), (
            f"{what} changes buffer {name.rpartition('.')[2]!r}; change buffers only "
            "`if self.training and torch.is_grad_enabled()`"
        )


def check_registered(case: Case) -> None:
    """Every weight and every module is registered, so that it is trained and saved."""
    bench = case.compose()
    weights = {id(weight) for weight in bench.task.parameters()}
    modules = {id(module) for module in bench.task.modules()}
    for part in bench.parts:
        for path, module in part.named_modules():
            own = {k: v for k, v in vars(module).items() if k not in _OF_MODULES}
            for name, value in _contents(own):
                where = f"{path}.{name}" if path else name
                is_weight = isinstance(value, Tensor) and value.requires_grad and value.is_leaf
                assert not is_weight or id(value) in weights, (
                    f"weight {where!r} is not registered, so it is neither trained nor saved; use "
                    "an nn.Parameter as an attribute, or an nn.ParameterList"
                )
                is_hidden = isinstance(value, nn.Module) and any(True for _ in value.parameters())
                assert not is_hidden or id(value) in modules, (
                    f"module {where!r} is not registered, so its weights are neither trained nor "
                    "saved; keep it as an attribute, in an nn.ModuleList or an nn.ModuleDict"
                )


def _contents(values: Mapping[str, Any], depth: int = 2) -> Iterator[tuple[str, Any]]:
    """Values and what their lists, tuples and dicts contain, with names."""
    for name, value in values.items():
        yield name, value
        if depth and isinstance(value, dict):
            yield from _contents({f"{name}[{k!r}]": v for k, v in value.items()}, depth - 1)
        elif depth and isinstance(value, list | tuple):
            items = {f"{name}[{index}]": item for index, item in enumerate(value)}
            yield from _contents(items, depth - 1)


RULES = (
    Rule("weights are registered", TRAINED_KINDS, check_registered),
    Rule("a resume loses nothing", TRAINED_KINDS, check_resume),
    Rule("buffers change in training only", PASS_KINDS, check_evaluation),
)
"""Promises about weights, buffers and attributes."""
