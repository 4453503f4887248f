"""What every composition must keep, for the tests of plugin authors.

def test_my_encoder():
    check_spec({"spec": "vaezoo/v1", "name": "t", "data": {"type": "digits"}, "model": {...}})
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vaezoo.data.batch import Batch
from vaezoo.model.task import Task
from vaezoo.runs.setup import prepare
from vaezoo.spec.load import load
from vaezoo.training.phase_optimizer import PhaseOptimizer
from vaezoo.training.process_group import ProcessGroup
from vaezoo.utils.seeds import seeded

_STEP = 10**6  # past every warm-up, so that a weight of zero hides no gradient


def check_spec(spec: str | Path | Mapping[str, Any], overrides: Sequence[str] = ()) -> None:
    """Composes a spec on the CPU and checks the contracts that the trainer and the metrics rely on.

    Every weight belongs to exactly one player and gets a finite gradient from its move; no move changes another
    player's weights or buffers; K samples give ``[K, B]``; observing changes nothing; networks run in bf16; one seed
    gives the same weights, losses and samples twice.

    Raises:
        AssertionError: names the promise that is broken, and the tensor.
        VaezooError: the spec cannot be composed at all.
    """
    loaded = load(spec, overrides)
    device = torch.device("cpu")
    _, train, task = prepare(loaded, device)
    with seeded(device, loaded.seed, "check"):
        batch = train.first(min(32, len(train)))
        task.set_step(_STEP)
        _check_shapes(task, batch)
        _check_observe(task, batch)
        _check_bf16(task, batch)
        phases = task.phases()
        phase_optimizers = [PhaseOptimizer(phase, phase.loss, task, loaded, 1, ProcessGroup()) for phase in phases]
        _check_ownership(task, phase_optimizers)
        for phase_optimizer, phase in zip(phase_optimizers, phases, strict=True):
            _check_move(task, phase_optimizer, phase.module, batch)
    _, _, again = prepare(loaded, device)
    _, _, once_more = prepare(loaded, device)
    _assert_unchanged(_snapshot(again), once_more, "two compositions with one seed differ in")
    _check_seed(again, once_more, batch)


def _check_shapes(task: Task, batch: Batch) -> None:
    for k in (1, 3):
        trace = task.model(batch, k)
        for name in ("distortion", "rate", "log_weight") if trace.has_rate else ("distortion",):
            given = tuple(getattr(trace, name).shape)
            assert given == (k, len(batch)), f"{name} is {given}, expected {(k, len(batch))}"
    loss, _ = task(batch)
    assert tuple(loss.shape) == (len(batch),), f"the loss is {tuple(loss.shape)}, expected one for each example"


def _check_observe(task: Task, batch: Batch) -> None:
    before = _snapshot(task)
    trace = task.model.infer_detached(batch)
    assert not any(site.z.requires_grad for site in trace.sites), "observed latents carry the encoder's graph"
    _assert_unchanged(before, task, "observing changed")


def _check_bf16(task: Task, batch: Batch) -> None:
    task.model.precision = "bf16"
    try:
        loss, _ = task(batch)
    finally:
        task.model.precision = "fp32"
    assert loss.dtype == torch.float32, f"in bf16 the loss is {loss.dtype}; bring features that are used to fp32"
    assert bool(loss.isfinite().all()), "in bf16 the loss is not finite"


def _check_seed(first: Task, second: Task, batch: Batch) -> None:
    losses = []
    for task in (first, second):
        with seeded(task.model.device, "check", "loss"):
            losses.append(task(batch)[0])
    assert torch.equal(*losses), "two losses with one seed differ: something draws from another generator"


def _check_ownership(task: Task, phase_optimizers: Sequence[PhaseOptimizer]) -> None:
    owners: dict[int, list[str]] = {}
    for phase_optimizer in phase_optimizers:
        for parameter in phase_optimizer.parameters:
            owners.setdefault(id(parameter), []).append(phase_optimizer.name)
    for name, parameter in task.named_parameters():
        if parameter.requires_grad:
            mine = owners.get(id(parameter), [])
            assert len(mine) == 1, f"{name} belongs to {mine or 'no player'}"


def _check_move(task: Task, phase_optimizer: PhaseOptimizer, module: nn.Module, batch: Batch) -> None:
    own = {id(tensor) for tensor in (*phase_optimizer.parameters, *module.buffers())}
    if module is task:
        own = {id(tensor) for tensor in (*phase_optimizer.parameters, *task.model.buffers())}
    foreign = {name for name, tensor in task.state_dict(keep_vars=True).items() if id(tensor) not in own}
    before = _snapshot(task)
    phase_optimizer.move(batch, len(batch), want_norm=True)
    for name, parameter in task.named_parameters():
        if id(parameter) in {id(p) for p in phase_optimizer.parameters}:
            gradient = parameter.grad
            assert gradient is not None and bool(torch.isfinite(gradient).all()), (
                f"{phase_optimizer.name}: no gradient for {name}"
            )
    changed = {name: value for name, value in before.items() if name in foreign}
    _assert_unchanged(changed, task, f"the move of {phase_optimizer.name} changed")


def _snapshot(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def _assert_unchanged(before: Mapping[str, Tensor], module: nn.Module, what: str) -> None:
    now = module.state_dict()
    changed = [name for name, value in before.items() if not torch.equal(value, now[name])]
    assert not changed, f"{what} {', '.join(changed)}"
