"""Promises about the examples of a batch: each has a result of its own, which is finite."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from vaezoo.data.batch import Batch
from vaezoo.data.mapping import map_tensors
from vaezoo.testing.case import Bench, Case
from vaezoo.testing.noise import steady
from vaezoo.testing.passes import (
    LOSS_KINDS,
    PASS_KINDS,
    blame,
    differs,
    loss_results,
    results,
    steady_results,
    tensors_of,
)
from vaezoo.testing.promise import Rule

_KEPT = 2
"""The number of examples that stay when the others of a batch change."""


def _mixed(batch: Batch, others: Batch) -> Batch:
    """The first two examples of a batch, followed by others."""

    def join(first: object, second: object) -> object:
        if isinstance(first, dict):
            assert isinstance(second, dict)
            return {key: join(value, second[key]) for key, value in first.items()}
        if isinstance(first, Tensor) and isinstance(second, Tensor):
            return torch.cat([first[:_KEPT], second[_KEPT:]])
        return first

    names = ("x", "condition", "mask", "extras", "present", "index")
    values = {name: join(getattr(batch, name), getattr(others, name)) for name in names}
    return replace(batch, **values)  # type: ignore[arg-type]


def check_apart(case: Case) -> None:
    """The result of an example does not depend on the other examples of its batch."""
    bench = case.compose()
    first = steady_results(bench, bench.batch)
    second = steady_results(bench, _mixed(bench.batch, bench.others))
    for name, value in first.items():
        assert not differs(value[:_KEPT], second[name][:_KEPT]), blame(
            bench,
            f"mixes the batch: the {name} of an example changes with the other examples, in "
            "evaluation mode; compute each row by itself (a softmax or a mean over the wrong "
            "dimension?), or declare pools_examples = True if that is meant",
        )


def check_alone(case: Case) -> None:
    """An example alone, with one sample, has the result that it has within a batch."""
    bench = case.compose()
    together = steady_results(bench, bench.batch, 1)
    alone = steady_results(bench, bench.batch.select(slice(0, 1)), 1)
    for name, value in together.items():
        assert not differs(value[:1], alone[name]), blame(
            bench,
            f"the {name} of a batch of one example is not that of the example in a batch; look "
            "for squeeze() without a dimension, for B or K taken for another size, and for what "
            "depends on the batch",
        )


def check_input_kept(case: Case) -> None:
    """No pass changes the batch."""
    bench = case.compose()
    before = {name: value.clone() for name, value in tensors_of(bench.batch).items()}
    bench.task(bench.batch)
    for phase in bench.task.phases()[1:]:
        phase.loss(bench.model, bench.batch)
    steady_results(bench, bench.batch)
    for name, value in tensors_of(bench.batch).items():
        assert torch.equal(value, before[name]), (
            f"changes its input in place: {name!r} of the batch is another after a pass; work on "
            "a copy (avoid x.mul_(), x[...] = ..., x += ...)"
        )


def _extremes(batch: Batch, support: str) -> dict[str, Batch]:
    """Batches of extreme examples, by what they are."""
    if support == "one-hot":
        one = torch.zeros_like(batch.x)
        one[..., 0] = 1
        return {"of the first symbol": replace(batch, x=one)}
    values = {
        "of zeros": map_tensors(torch.zeros_like, batch.x),
        "of ones": map_tensors(torch.ones_like, batch.x),
    }
    return {name: replace(batch, x=x) for name, x in values.items()}


def check_finite(case: Case) -> None:
    """Loss and gradient are finite for examples of zeros and of ones, and for a single one."""
    bench = case.compose()
    for name, batch in _extremes(bench.batch, bench.model.data.support).items():
        _check_finite(bench.task.train(), batch, name)
    _check_finite(bench.task.eval(), bench.batch.select(slice(0, 1)), "of a single example")


def _check_finite(task: torch.nn.Module, batch: Batch, name: str) -> None:
    loss, _ = task(batch)
    assert bool(loss.isfinite().all()), (
        f"the loss of a batch {name} is not finite; look for log(0), 0/0 or a variance of 0"
    )
    weights = [weight for weight in task.parameters() if weight.requires_grad]
    gradients = torch.autograd.grad(loss.mean(), weights, allow_unused=True)
    assert all(bool(g.isfinite().all()) for g in gradients if g is not None), (
        f"the gradient of a batch {name} is not finite; look for sqrt(0), log(0) and where() "
        "around a value that is not finite"
    )


def check_halves(case: Case) -> None:
    """The gradient of a batch is the mean of those of its parts."""
    bench = case.compose()
    bench.task.eval()
    whole = _gradient(bench, bench.batch)
    parts = [bench.batch.select(slice(0, 2)), bench.batch.select(slice(2, None))]
    gradients = [_gradient(bench, part) * (len(part) / len(bench.batch)) for part in parts]
    assert not differs(whole, torch.stack(gradients).sum(0), 1e-3), (
        "the gradient of a batch is not the mean of those of its parts, so several processes and "
        "`accumulate` would train something else; do not divide by the size of the batch, or "
        "declare pools_examples = True and use vaezoo.BatchShare"
    )


def _gradient(bench: Bench, batch: Batch) -> Tensor:
    """The gradient of the mean loss, all weights in one vector."""
    weights = [weight for weight in bench.task.parameters() if weight.requires_grad]
    with steady():
        (loss,) = loss_results(bench, batch).values()
    if not loss.requires_grad:
        return torch.zeros(1)
    gradients = torch.autograd.grad(loss.mean(), weights, allow_unused=True)
    pairs = zip(gradients, weights, strict=True)
    return torch.cat([(torch.zeros_like(w) if g is None else g).flatten() for g, w in pairs])


def check_shapes(case: Case) -> None:
    """Results have one row for each example, for several sizes of the batch and of K."""
    bench = case.compose()
    bench.task.eval()
    for size, k in ((5, 2), (4, 6), (1, 3)):
        batch = bench.batch.select(slice(0, size))
        for name, value in results(bench, batch, k).items():
            assert value.shape[:1] == (size,), (
                f"the {name} of {size} examples has {value.shape[0] if value.dim() else 'no'} "
                "rows; return one for each example, B"
            )
            assert case.kind not in LOSS_KINDS or value.dim() == 1, (
                f"the {name} of {size} examples has the shape {tuple(value.shape)}; return one "
                "number for each, [B] (a broadcast of [B] with [B, 1]?)"
            )
            has_samples = name == "code" or name.startswith(("sample", "KL", "log", "output"))
            assert not has_samples or value.shape[1] == k, (
                f"the {name} for K = {k} samples has {value.shape[1]}; return one for each sample"
            )


def pools(case: Case) -> bool:
    """Whether the component says that an example's result depends on others."""
    return case.probe.pools_examples


RULES = (
    Rule("one row for each example", PASS_KINDS, check_shapes),
    Rule("examples stay apart", PASS_KINDS, check_apart, applies=lambda case: not pools(case)),
    Rule(
        "an example alone is the same",
        PASS_KINDS,
        check_alone,
        applies=lambda case: not pools(case),
    ),
    Rule("the batch stays as it is", PASS_KINDS, check_input_kept),
    Rule(
        "extreme examples have finite losses",
        PASS_KINDS,
        check_finite,
        applies=lambda case: case.probe.model.data.support not in ("mixed",),
    ),
    Rule(
        "parts of a batch add up", LOSS_KINDS, check_halves, applies=lambda case: not pools(case)
    ),
)
"""Promises about batches."""
