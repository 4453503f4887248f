"""Promises about conditions: each example has the context, and the prior, of its own condition."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.distributions import Distribution

from vaezoo.distributions import density_of
from vaezoo.model.parts import Prior
from vaezoo.testing.case import CPU, Bench, Case
from vaezoo.testing.densities import importance_identity
from vaezoo.testing.noise import steady
from vaezoo.testing.passes import differs
from vaezoo.testing.promise import Rule
from vaezoo.testing.setting import merge
from vaezoo.utils.errors import VaezooError, one_line, shorten
from vaezoo.utils.seeds import seeded

_LABEL = {"model": {"condition": {"type": "label", "into": ["prior", "decoder"]}}}
_UNLABELLED = ("attributes", "pictures", None)
_MOVED = 0.3


def _move_weights(part: torch.nn.Module) -> None:
    """Moves all weights: some layers start with zeros, and ignore their input at first."""
    with seeded(CPU, "promise", "weights"):
        for weight in part.parameters():
            weight.add_(_MOVED * torch.randn_like(weight))


def _conditional(case: Case) -> Case:
    return replace(case, changes=merge(case.changes, _LABEL), memo={})


def _contexts(bench: Bench) -> Tensor:
    """The contexts of three examples with different labels, ``[3, E]``."""
    context = bench.model.prior_context(bench.model.context(torch.arange(3), 3))
    assert context is not None, "the prior receives the context"
    return context


@torch.no_grad()
def check_context(case: Case) -> None:
    """A conditional prior is one of the context of each example."""
    try:
        bench = _conditional(case).compose()
        contexts = _contexts(bench)
        part = bench.parts[0]
        assert isinstance(part, Prior)
        _move_weights(part)
        bench.task.eval()
        together = part(contexts, bench.model)
        alone = [part(contexts[i : i + 1], bench.model) for i in range(3)]
    except Exception as error:
        if isinstance(error, VaezooError) and isinstance(error.__cause__, ValueError):
            return  # it refuses a context of this size, and says why
        raise AssertionError(
            "declares conditional = True, but fails where it gets a context: "
            f"{type(error).__name__}: {shorten(one_line(error), 300)}"
        ) from error
    _require_own(bench, together, alone)
    space = bench.model.spaces[0]
    if density_of(together) != "exact" or tuple(together.event_shape) != space.shape:
        return
    with seeded(CPU, "promise", "contexts"):
        problem = importance_identity(together, space.support)
    assert not problem, (
        "with contexts, density and samples of the prior disagree; sample each example from its "
        f"own context: {problem}"
    )


def _require_own(bench: Bench, together: Distribution, alone: list[Distribution]) -> None:
    """Each example has its own prior: not that of another, and not one for all."""
    z = bench.model.infer(bench.model.start_inference(bench.batch, 1)).sites[0].z[0, :1]
    densities = [_values(p, z) for p in alone]
    assert any(differs(densities[0], other) for other in densities[1:]), (
        "ignores its context: the prior is the same for different conditions; use the context in "
        "forward, or leave conditional = False"
    )
    if together.batch_shape[:1] == (3,):
        rows = _values(together, z.expand(3, *z.shape[1:]))
        own = torch.cat([value.reshape(1, *rows.shape[1:]) for value in densities])
        is_own = not differs(rows, own, 1e-3)
    else:
        is_own = False
    assert is_own, (
        "mixes contexts: the prior of an example in a batch is not that of its context alone; "
        "return a batch shape [B] with one distribution for each row of the context"
    )


def _values(p: Distribution, z: Tensor) -> Tensor:
    """The log-density, or samples where there is none, one row for each example."""
    with steady():
        return p.sample() if density_of(p) == "none" else p.log_prob(z)


def _gets_labels(case: Case) -> bool:
    """Whether the prior can be tested in a model with labels."""
    has_own = "condition" in case.document["model"]
    return case.cls.conditional and case.data not in _UNLABELLED and not has_own


@torch.no_grad()
def check_conditioner(case: Case) -> None:
    """The context depends on the condition."""
    bench = case.compose()
    _move_weights(bench.parts[0])
    bench.task.eval()
    conditions, model = bench.batch.condition, bench.model
    assert conditions is not None, "the data has conditions"
    with steady():
        first, other = (model.context(c, len(c)) for c in (conditions, conditions.flip(0)))
    assert first is not None and other is not None, "the model is conditional"
    is_same = torch.equal(conditions, conditions.flip(0))
    assert is_same or differs(first, other), (
        "ignores the condition: the contexts of other conditions are the same; compute them from "
        "the argument of forward"
    )


RULES = (
    Rule("follows its context", ("prior",), check_context, applies=_gets_labels),
    Rule("follows its condition", ("conditioner",), check_conditioner),
)
"""Promises about conditions."""
