"""Checks that every composed model must pass, for the tests of plugin authors.

Example:
    from vaezoo.testing import check_spec

    def test_my_encoder():
        check_spec({"spec": "vaezoo/v2", "name": "t", "data": {"type": "digits"}, "model": {...}})
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from vaezoo.data.batch import Batch
from vaezoo.distributions import density_of, draw
from vaezoo.model.task import Task
from vaezoo.model.wiring import Space
from vaezoo.runs.setup import prepare_training
from vaezoo.spec.load import load_spec
from vaezoo.spec.stage import Stage
from vaezoo.training.phase_optimizer import PhaseOptimizer
from vaezoo.utils.seeds import seeded

_STEP = 10**6  # after every warm-up, where no weight of a regularizer is 0 and hides its gradient


def check_spec(spec: str | Path | Mapping[str, Any], overrides: Sequence[str] = ()) -> None:
    """Composes a spec on the CPU and checks the contracts that trainer and metrics rely on.

    - Every parameter belongs to exactly one phase and gets a finite gradient in its step.
    - No step changes parameters or buffers of another phase.
    - K samples give ``[K, B]``; the loss and every penalty are ``[B]``.
    - Posteriors and priors have samples, densities and temperatures of the right shapes, and
      samples lie in the support of their latent variable, all in evaluation mode.
    - ``infer_detached`` changes nothing.
    - The networks run in bf16.
    - One seed gives the same weights and losses twice.

    Args:
        spec: a path, or the content of a spec.
        overrides: ``key.path=value``, such as ``model.latent_dim=3``.

    Raises:
        AssertionError: a contract is broken; names the contract and the tensor.
        VaezooError: the spec cannot be composed.
    """
    loaded = load_spec(spec, overrides)
    device = torch.device("cpu")
    _, train, tasks = prepare_training(loaded, device)
    batch = train.first(min(32, len(train)))
    for stage, task in zip(loaded.stages, tasks, strict=True):
        _check_stage(stage, task, batch)
    _, _, first = prepare_training(loaded, device)
    _, _, second = prepare_training(loaded, device)
    for one, other in zip(first, second, strict=True):
        _assert_unchanged(_snapshot(one), other, "two compositions with one seed differ in")
        _check_seed(one, other, batch)


def _check_stage(stage: Stage, task: Task, batch: Batch) -> None:
    with seeded(task.model.device, stage.seed, "check"), task.active():
        task.train()
        task.initialise(batch)
        task.set_step(_STEP)
        _check_shapes(task, batch)
        _check_distributions(task, batch)
        _check_infer_detached(task, batch)
        _check_bf16(task, batch)
        phases = task.phases()
        phase_optimizers = [
            PhaseOptimizer(phase, task=task, config=stage.train, total_steps=1) for phase in phases
        ]
        check_ownership(task, phase_optimizers)
        for phase_optimizer, phase in zip(phase_optimizers, phases, strict=True):
            check_step(task, phase_optimizer, phase.module, batch)


def _check_shapes(task: Task, batch: Batch) -> None:
    for k in (1, 3):
        trace = task.model(batch, k)
        names = ["distortion", *(["rate"] if trace.has_rate else [])]
        if trace.has_rate and trace.density == "exact":
            names.append("log_weight")
        for name in names:
            shape, expected = tuple(getattr(trace, name).shape), (k, len(batch))
            assert shape == expected, f"{name} is {shape}, expected {expected}"
    loss, terms = task(batch)
    penalties = {name: terms[name] for name, _ in task.named_regularizers()}
    for name, value in {"the loss": loss, **penalties}.items():
        shape = tuple(value.shape)
        assert shape == (len(batch),), f"{name} is {shape}, expected one for each example"


@torch.no_grad()
def _check_distributions(task: Task, batch: Batch) -> None:
    task.eval()  # in training, samples may be relaxed to values outside the support
    inference = task.model.start_inference(batch, 3)
    for site, space in zip(task.model.infer(inference).sites, task.model.spaces, strict=True):
        _check_support(site.z, space)
        _check_distribution(site.p, site.z, f"the prior of {site.name!r}")
        if site.log_q is None:
            _check_distribution(site.q, site.z, f"the posterior of {site.name!r}")
    task.train()


def _check_support(z: Tensor, space: Space) -> None:
    """Checks that samples ``[K, B, *event]`` lie in the support of their space."""
    inside = {
        "sphere": lambda: (z.norm(dim=-1) - 1).abs() < 1e-3,
        "simplex": lambda: ((z.sum(-1) - 1).abs() < 1e-3) & (z >= 0).all(-1),
        "one-hot": lambda: (z.sum(-1) == 1) & ((z == 0) | (z == 1)).all(-1),
        "symbols": lambda: (z >= 0) & (z < space.size) & (z == z.floor()),
    }
    if space.support in inside:
        assert bool(inside[space.support]().all()), (
            f"samples of {space.name!r} lie outside its support {space.support!r}"
        )


def _check_distribution(distribution: Distribution, z: Tensor, what: str) -> None:
    """Checks what a distribution offers, at samples ``z`` ``[K, B, *event]``."""
    value = (*distribution.batch_shape, *distribution.event_shape)
    shape, expected = tuple(distribution.sample(torch.Size((2,))).shape), (2, *value)
    assert shape == expected, f"{what}: sample((2,)) is {shape}, expected {expected}"
    if density_of(distribution) != "none":
        shape = tuple(distribution.log_prob(z).shape)
        expected = tuple(z.shape[: z.dim() - len(distribution.event_shape)])
        assert shape == expected, f"{what}: log_prob is {shape}, expected {expected}"
    for temperature in (0.5, 0.0):
        with suppress(NotImplementedError):
            shape = tuple(draw(distribution, temperature).shape)
            assert shape == value, f"{what}: at a temperature it is {shape}, expected {value}"


def _check_infer_detached(task: Task, batch: Batch) -> None:
    before = _snapshot(task)
    trace = task.model.infer_detached(batch)
    has_graph = any(site.z.requires_grad for site in trace.sites)
    assert not has_graph, "the latents of infer_detached require gradients"
    _assert_unchanged(before, task, "infer_detached changed")


def _check_bf16(task: Task, batch: Batch) -> None:
    task.model.precision = "bf16"
    try:
        loss, _ = task(batch)
    finally:
        task.model.precision = "fp32"
    assert loss.dtype == torch.float32, (
        f"in bf16 the loss is {loss.dtype}; convert features to fp32 with float()"
    )
    assert bool(loss.isfinite().all()), "in bf16 the loss is not finite"


def _check_seed(first: Task, second: Task, batch: Batch) -> None:
    losses = []
    for task in (first, second):
        with seeded(task.model.device, "check", "loss"):
            losses.append(task(batch)[0])
    assert torch.equal(*losses), (
        "two losses with one seed differ: a component does not draw from torch's global generator"
    )


def check_ownership(task: Task, phase_optimizers: Sequence[PhaseOptimizer]) -> None:
    """Checks that every weight belongs to exactly one phase.

    Args:
        task: the task.
        phase_optimizers: those of all its phases.
    """
    owners: dict[int, list[str]] = {}
    for phase_optimizer in phase_optimizers:
        for parameter in phase_optimizer.parameters:
            owners.setdefault(id(parameter), []).append(phase_optimizer.name)
    for name, parameter in task.named_parameters():
        if parameter.requires_grad:
            names = owners.get(id(parameter), [])
            assert len(names) == 1, f"{name} belongs to the phases {names}, expected exactly one"


def check_step(
    task: Task, phase_optimizer: PhaseOptimizer, module: nn.Module, batch: Batch
) -> None:
    """Takes a step of one phase, and checks gradients and what it changes.

    Args:
        task: the task.
        phase_optimizer: that of the phase.
        module: the module whose weights the phase trains.
        batch: the examples.
    """
    roots = task.trained_roots() if module is task else [module]
    own = {id(buffer) for root in roots for buffer in root.buffers()}
    if module is task:  # the phase of the model has the buffers that no other phase has
        others = [phase.module for phase in task.phases() if phase.module is not task]
        own -= {id(buffer) for other in others for buffer in other.buffers()}
    own |= {id(parameter) for parameter in phase_optimizer.parameters}
    tensors = task.state_dict(keep_vars=True)
    foreign = {name for name, tensor in tensors.items() if id(tensor) not in own}
    before = _snapshot(task)
    phase_optimizer.step(batch, len(batch), measure_norm=True)
    parameter_ids = {id(parameter) for parameter in phase_optimizer.parameters}
    for name, parameter in task.named_parameters():
        if id(parameter) in parameter_ids:
            gradient = parameter.grad
            assert gradient is not None and bool(torch.isfinite(gradient).all()), (
                f"{phase_optimizer.name}: no gradient for {name}"
            )
    before = {name: value for name, value in before.items() if name in foreign}
    _assert_unchanged(before, task, f"the step of {phase_optimizer.name} changed")


def _snapshot(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def _assert_unchanged(before: Mapping[str, Tensor], module: nn.Module, message: str) -> None:
    now = module.state_dict()
    changed = [name for name, value in before.items() if not torch.equal(value, now[name])]
    assert not changed, f"{message} {', '.join(changed)}"
