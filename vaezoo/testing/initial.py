"""Promises about how components begin: from the seed, from data, and without a trace elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from vaezoo.model.component import overrides
from vaezoo.testing.case import CPU, LATE_STEP, Bench, Case
from vaezoo.testing.noise import touched_generators
from vaezoo.testing.passes import (
    BATCH_NORMS,
    LOSS_KINDS,
    PASS_KINDS,
    decoder_outputs,
    differs,
    loss_results,
    results,
    same_bits,
)
from vaezoo.testing.promise import Rule
from vaezoo.testing.state import attributes, changed_attribute, same_state
from vaezoo.utils.seeds import seeded

_KINDS = (*PASS_KINDS, "schedule")
_RANDOM_LAYERS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, *BATCH_NORMS)


def check_initialised(case: Case) -> None:
    """What `initialise` finds in data is in the saved weights."""
    first = case.compose(anew=True)
    task = case.build()
    task.set_step(LATE_STEP)
    second = replace(first, task=task)
    before, after = attributes(second), attributes(first)
    task.load_state_dict(first.task.state_dict())
    if same_state(first, second):
        return
    name = changed_attribute(after, before)
    lost = f"attribute {name!r}" if name else "what"
    raise AssertionError(
        f"{lost} that `initialise` sets is lost: weights that are saved and loaded compute "
        "something else; keep it in a buffer (register_buffer), and change it in place"
    )


def _initialises(case: Case) -> bool:
    return any(overrides(part, "initialise") for part in case.probe.parts)


def check_initial_weights(case: Case) -> None:
    """Two tasks of one spec begin with the same weights, and draw them from torch."""
    (first, again), generators = touched_generators(
        lambda: [case.build().state_dict() for _ in range(2)]
    )
    touched = [name for name in generators if not name.startswith("torch")]
    assert not touched, (
        f"draws initial weights from {touched[0]}, so that the seed of a run does not determine "
        "them; draw with torch's functions"
    )
    for name, value in first.items():
        assert same_bits(value, again[name]), (
            f"two runs of one spec begin with different weights: {name}; draw them with torch's "
            "functions, without a generator of your own and without counting instances"
        )


_GLOBALS: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "the default dtype": (torch.get_default_dtype, torch.set_default_dtype),
    "the number of threads": (torch.get_num_threads, torch.set_num_threads),
    "deterministic algorithms": (
        torch.are_deterministic_algorithms_enabled,
        torch.use_deterministic_algorithms,
    ),
    "the precision of float32 products": (
        torch.get_float32_matmul_precision,
        torch.set_float32_matmul_precision,
    ),
    "gradients": (torch.is_grad_enabled, torch.set_grad_enabled),
    "anomaly detection": (torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
    "cudnn.benchmark": (
        lambda: torch.backends.cudnn.benchmark,
        lambda value: setattr(torch.backends.cudnn, "benchmark", value),
    ),
    "cudnn.deterministic": (
        lambda: torch.backends.cudnn.deterministic,
        lambda value: setattr(torch.backends.cudnn, "deterministic", value),
    ),
}
"""Settings of torch for the whole process: how they are read and set."""


def check_globals(case: Case) -> None:
    """Building a component and a pass change no setting of torch."""
    before = {name: read() for name, (read, _) in _GLOBALS.items()}
    try:
        task = case.build()
        task.set_step(LATE_STEP)
        task(case.probe.batch.map(Tensor.clone))
        changed = [name for name, (read, _) in _GLOBALS.items() if read() != before[name]]
    finally:
        for name, (read, write) in _GLOBALS.items():
            if read() != before[name]:
                write(before[name])
    assert not changed, (
        f"changes a setting of torch for the whole process: {changed[0]}; leave it to users, or "
        "restore it"
    )


def check_modes(case: Case) -> None:
    """A loss is the same in training and in evaluation mode."""
    bench = case.compose()
    bench.task.eval()
    values: list[Tensor] = []
    for is_training in (False, True):
        for part in bench.parts:
            part.train(is_training)
        with seeded(CPU, "promise", "modes"):
            values += loss_results(bench, bench.batch).values()
    assert not differs(values[0], values[1]), (
        "computes something else in training than in evaluation, so that training and validation "
        "losses cannot be compared; do not branch on self.training (dropout, batch norm and "
        "buffers are exempt)"
    )


def _has_one_mode(case: Case) -> bool:
    """Whether nothing in the component has a reason to differ in training."""
    modules = [module for part in case.probe.parts for module in part.modules()]
    has_buffers = any(True for part in case.probe.parts for _ in part.buffers())
    return not has_buffers and not any(isinstance(m, _RANDOM_LAYERS) for m in modules)


@torch.no_grad()
def check_certain(case: Case) -> None:
    """In evaluation mode the component is a function of its input."""
    require_certain(case.compose())


def require_certain(bench: Bench) -> None:
    """Raises AssertionError if an encoder, a decoder or a conditioner draws in evaluation."""
    model, batch, values = bench.model.eval(), bench.batch, []
    with seeded(CPU, "promise", "codes"):
        codes = torch.randn(len(batch), *model.code_shape)
    for seed in (0, 1):
        with seeded(CPU, "promise", "certain", seed):
            values.append(_outcome(bench, codes))
    model.train()
    for first, second in zip(*values, strict=True):
        assert same_bits(first, second), (
            "is random in evaluation mode: two seeds give different results for one input; use "
            "nn.Dropout, or F.dropout(x, p, self.training), and draw nothing in evaluation"
        )


def _outcome(bench: Bench, codes: Tensor) -> tuple[Tensor, ...]:
    """What the component gives for the batch; a decoder for the codes."""
    model, batch = bench.model, bench.batch
    if bench.case.kind != "decoder":
        return tuple(results(bench, batch).values())
    with decoder_outputs(bench) as outputs:
        context = model.context(batch.condition, len(batch))
        model.likelihood_of(codes.clone(), context, batch.extras)
    return tuple(outputs)


def check_code_used(case: Case) -> None:
    """The output of a decoder depends on every number of the code."""
    bench = case.compose()
    bench.task.eval()
    with seeded(CPU, "promise", "codes"):
        codes = torch.randn(len(bench.batch), *bench.model.code_shape).requires_grad_()
    (output,) = _outcome(bench, codes)
    weights = torch.linspace(1, 2, output.numel()).reshape(output.shape)
    gradient = torch.autograd.grad((output * weights).sum(), codes, allow_unused=True)[0]
    if gradient is None:
        return  # a detached code is another mistake
    unused = (gradient == 0).flatten(0, -2).all(0)  # of the last dimension
    assert not bool(unused.any()), (
        f"ignores number {int(unused.nonzero()[0])} of the code's last dimension, so that a "
        "latent dimension is never decoded; use the whole code"
    )


CERTAIN_KINDS = ("encoder", "decoder", "conditioner")

RULES = (
    Rule("what initialise finds is saved", _KINDS, check_initialised, applies=_initialises),
    Rule("initial weights follow the seed", _KINDS, check_initial_weights),
    Rule("leaves torch's settings alone", _KINDS, check_globals),
    Rule("computes the same in training", LOSS_KINDS, check_modes, applies=_has_one_mode),
    Rule("evaluation is not random", CERTAIN_KINDS, check_certain),
    Rule("uses the whole code", ("decoder",), check_code_used),
)
"""Promises about how components begin."""
