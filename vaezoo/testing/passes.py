"""What a component computes in one pass through its model, one row for each example."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from vaezoo.data.batch import Batch
from vaezoo.model.trace import Trace
from vaezoo.testing.case import Bench
from vaezoo.testing.examples import SAMPLES
from vaezoo.testing.noise import steady

PASS_KINDS = (
    "encoder",
    "posterior",
    "prior",
    "latents",
    "decoder",
    "likelihood",
    "conditioner",
    "objective",
    "regularizer",
)
"""The kinds that take part in a pass."""
LATENT_KINDS = ("posterior", "prior", "latents")
LOSS_KINDS = ("objective", "regularizer")


def results(bench: Bench, batch: Batch, k: int = SAMPLES) -> dict[str, Tensor]:
    """What the component under test computes for a batch: tensors ``[B, ...]`` by name.

    Args:
        bench: the task, in the mode in which the pass is made.
        batch: the examples.
        k: the number of samples K.
    """
    kind, model = bench.case.kind, bench.model
    if kind == "conditioner":
        context = model.context(batch.condition, len(batch))
        assert context is not None, "the model is conditional"
        return {"context": context}
    if kind == "encoder":
        features = model.start_inference(batch, k).features
        return {f"feature {i}": feature for i, feature in enumerate(features)}
    if kind in LATENT_KINDS:
        return latent_results(model.infer(model.start_inference(batch, k)))
    if kind in LOSS_KINDS:
        return loss_results(bench, batch)
    if kind == "decoder":
        return {"output": _decoded(bench, batch, k)}
    return likelihood_results(model(batch, k))


def latent_results(trace: Trace) -> dict[str, Tensor]:
    """The samples, the codes and, where it is defined, the KL: example first."""
    values = {f"sample of {site.name!r}": site.z.float() for site in trace.sites}
    for site in trace.sites:
        if site.density != "none":
            values[f"KL of {site.name!r}"] = site.kl
    return {name: value.transpose(0, 1) for name, value in {**values, "code": trace.code}.items()}


def likelihood_results(trace: Trace) -> dict[str, Tensor]:
    """log p(x|z), ``[B, K]``."""
    return {"log p(x|z)": trace.log_likelihood.transpose(0, 1)}


def loss_results(bench: Bench, batch: Batch) -> dict[str, Tensor]:
    """The loss of the objective under test, or the penalty of the regularizer, ``[B]``."""
    task = bench.task
    name = "loss" if bench.case.kind == "objective" else "penalty"
    return {name: loss_of(bench, task.objective.trace(task.model, batch))}


def loss_of(bench: Bench, trace: Trace) -> Tensor:
    """The loss of the objective under test, or the penalty of the regularizer, ``[B]``."""
    task = bench.task
    if bench.case.kind == "objective":
        return task.objective(trace)
    own = [penalty for _, penalty in task.named_regularizers() if type(penalty) is bench.case.cls]
    return own[0](trace)


def _decoded(bench: Bench, batch: Batch, k: int) -> Tensor:
    """The output of the decoder, ``[B, K, ...]``."""
    with decoder_outputs(bench) as outputs:
        bench.model(batch, k)
    return outputs[0].unflatten(0, (-1, len(batch))).transpose(0, 1)  # [K * B, ...]


@contextmanager
def decoder_outputs(bench: Bench) -> Iterator[list[Tensor]]:
    """Within, what the decoder returns is appended to the list."""
    outputs: list[Tensor] = []
    handle = bench.model.decoder.register_forward_hook(
        lambda module, inputs, output: outputs.append(output)
    )
    try:
        yield outputs
    finally:
        handle.remove()


def steady_results(bench: Bench, batch: Batch, k: int = SAMPLES) -> dict[str, Tensor]:
    """``results`` in evaluation mode, with noise that does not depend on shapes; detached."""
    bench.task.eval()
    with steady():
        return {name: value.detach() for name, value in results(bench, batch, k).items()}


def blame(bench: Bench, mistake: str) -> str:
    """What to say of a difference: the mistake, unless two equal passes differ as well."""
    first, second = (steady_results(bench, bench.batch) for _ in range(2))
    name = first_difference(first, second)
    if name is None:
        return mistake
    return (
        f"ignores the seed: the {name} of two passes with one seed differs; draw from torch's "
        "generator, not from numpy or one of your own, and not from the time"
    )


def differs(first: Tensor, second: Tensor, tolerance: float = 1e-4) -> bool:
    """Whether two tensors differ by more than rounding; NaN equals NaN."""
    if first.shape != second.shape:
        return True
    return not torch.allclose(first, second, rtol=tolerance, atol=tolerance / 10, equal_nan=True)


def same_bits(first: Tensor, second: Tensor) -> bool:
    """Whether two tensors are equal; a pass that gives NaN twice in one place says nothing."""
    return first.shape == second.shape and (
        torch.equal(first, second) or bool((first.isnan() & second.isnan()).any())
    )


def first_difference(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> str | None:
    """The name of the first tensor that differs; None if none does."""
    return next((name for name in first if differs(first[name], second[name])), None)


def tensors_of(batch: Batch) -> dict[str, Tensor]:
    """All tensors of a batch, by what they are."""
    found: dict[str, Tensor] = {}

    def add(name: str, value: Any) -> None:
        if isinstance(value, Mapping):
            for key, part in value.items():
                add(f"{name}.{key}", part)
        elif isinstance(value, Tensor):
            found[name] = value

    for name in ("x", "condition", "mask", "extras", "present"):
        add(name, getattr(batch, name))
    return found


BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
