"""Promises about gradients: where a value has an influence, a gradient flows back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from vaezoo.model.phase import Phase
from vaezoo.testing.case import Bench, Case
from vaezoo.testing.noise import steady
from vaezoo.testing.nudges import PLACES, Nudges, direction_of
from vaezoo.testing.passes import LATENT_KINDS, LOSS_KINDS, differs, loss_results, results
from vaezoo.testing.promise import Rule
from vaezoo.testing.spec_contracts import check_ownership, check_step
from vaezoo.training.phase_optimizer import PhaseOptimizer

_STEP, _SMALL = 0.05, 0.01


def _values(bench: Bench) -> Tensor:
    """What the component under test computes, as one vector with a graph."""
    with steady():
        found = (
            loss_results(bench, bench.batch)
            if bench.case.kind in LOSS_KINDS
            else results(bench, bench.batch)
        )
    return torch.cat([value.flatten().float() for value in found.values()])


def is_cut(bench: Bench, place: str, values: Callable[[Bench], Tensor] = _values) -> bool:
    """Whether a place of the pass has an influence on the result, but gets no gradient of it."""
    nudges = Nudges(place)
    state = {name: value.clone() for name, value in bench.task.state_dict().items()}
    with nudges.active(bench):
        before = values(bench)
        gradients: Sequence[Tensor | None] = ()
        if nudges.leaves and before.requires_grad:
            weights = torch.linspace(1, 2, len(before))  # no symmetry hides a gradient
            total = (before * weights).sum()
            gradients = torch.autograd.grad(total, nudges.leaves, allow_unused=True)
        bench.task.load_state_dict(state)  # the pass may have moved buffers
        nudges.amount = 0.0
        again = values(bench)
        nudges.amount = _STEP
        after = values(bench)
    # a result that is another each time says nothing
    has_influence = torch.equal(before, again) and differs(before.detach(), after.detach(), 1e-5)
    return has_influence and not any(g is not None and bool(g.any()) for g in gradients)


def is_partly_cut(bench: Bench) -> bool:
    """Whether the gradient of samples to the features is another than their slope."""
    bench.task.eval()
    nudges = Nudges("features")
    with nudges.active(bench):
        before = _samples(bench)
        if not before.requires_grad:
            return True
        weights = torch.linspace(1, 2, len(before))
        total = (before * weights).sum()
        gradients = torch.autograd.grad(total, nudges.leaves, allow_unused=True)
        slopes = []
        for amount in (_SMALL, -_SMALL):
            nudges.amount = amount
            slopes.append(float((_samples(bench).double() * weights).sum()) / (2 * _SMALL))
    directions = [direction_of(leaf) for leaf in nudges.leaves]
    pairs = zip(gradients, directions, strict=True)
    expected = sum(float((g * d).sum()) for g, d in pairs if g is not None)
    slope = slopes[0] - slopes[1]
    return abs(slope - expected) > 0.1 * abs(slope) + 0.02


def _samples(bench: Bench) -> Tensor:
    """The codes of two samples of each example, as one vector."""
    with steady():
        model = bench.model
        trace = model.infer(model.start_inference(bench.batch, 2))
    return trace.code.flatten().float()


def check_features(case: Case) -> None:
    """Gradients of samples and codes reach the encoder."""
    bench = case.compose()
    assert not is_cut(bench, "features", _samples), (
        "z is detached: the codes depend on the encoder's features, but no gradient flows back to "
        "them, so the reconstruction does not train the encoder; use rsample(), and no detach()"
    )
    is_real = all(space.support == "real" for space in bench.model.spaces)
    assert case.kind != "posterior" or not is_real or not is_partly_cut(bench), (
        "z is partly detached: the gradient of its samples to the encoder's features is not their "
        "slope; compute samples from all parameters without detach()"
    )


def check_paths(case: Case) -> None:
    """Wherever the loss depends on something, it has a gradient to it."""
    bench = case.compose()
    bench.task.eval()
    spared: set[str] = set()
    for part in bench.parts:
        if getattr(part, "detaches_posterior", False):
            spared.add("posterior")
        if part.eager:  # a penalty on gradients, at latents that it may well hold constant
            spared |= {"features", "posterior", "z"}
    for place, words in PLACES.items():
        if place in spared:
            continue
        what = "penalty" if case.kind == "regularizer" else "loss"
        assert not is_cut(bench, place), (
            f"the {what} is detached: it depends on {words}, but no gradient of it flows back "
            "there, so it trains nothing; remove detach(), no_grad() or .item()"
        )


def check_trains_model(case: Case) -> None:
    """The loss or the penalty has a gradient to a weight of the model."""
    bench = case.compose()
    (value,) = loss_results(bench, bench.batch).values()
    weights = [weight for weight in bench.model.parameters() if weight.requires_grad]
    reached = False
    if value.requires_grad:
        gradients = torch.autograd.grad(value.sum(), weights, allow_unused=True)
        reached = any(gradient is not None for gradient in gradients)
    what = "penalty" if case.kind == "regularizer" else "loss"
    assert reached, (
        f"the {what} is detached: it has no gradient to any weight of the model, so it trains "
        "nothing; compute it from the trace without detach(), no_grad() or .item()"
    )


def check_output(case: Case) -> None:
    """log p(x|z) has a gradient to the decoder's output; the output has one to the code."""
    bench = case.compose()
    place, words = ("output", "the decoder's output")
    if case.kind == "decoder":
        place, words = "z", "the code"
    assert not is_cut(bench, place), (
        f"the result is detached from {words}, on which it depends; remove detach(), no_grad() "
        "or .item()"
    )


def check_phases(case: Case) -> None:
    """A phase trains weights of its component only, and its loss has no other gradients."""
    bench = case.compose()
    model = {id(weight): name for name, weight in bench.model.named_parameters()}
    bench.task(bench.batch)  # a component may look at the model in a pass
    for part in bench.parts:
        for phase in part.phases():
            own = {id(weight) for weight in phase.module.parameters()}
            if case.kind in LOSS_KINDS:
                _require_no_owner(phase, own, model)
            loss, _ = phase.loss(bench.model, bench.batch)
            assert loss.requires_grad, f"the loss of phase {phase.name!r} has no gradient"
            foreign = [weight for key, weight in _weights(bench).items() if key not in own]
            _require_no_graph(phase, loss, foreign, model)


def _require_no_owner(phase: Phase, own: set[int], model: Mapping[int, str]) -> None:
    names = [model[weight] for weight in own if weight in model]
    assert not names, (
        f"phase {phase.name!r} owns {min(names)}, a weight of the model, which would then be "
        "trained by that phase alone; give the phase a module of the component, and keep neither "
        "the model nor a part of it"
    )


def _require_no_graph(
    phase: Phase, loss: Tensor, foreign: Sequence[Tensor], model: Mapping[int, str]
) -> None:
    found = torch.autograd.grad(loss.mean(), foreign, allow_unused=True)
    pairs = zip(foreign, found, strict=True)
    reached = [model[id(w)] for w, g in pairs if g is not None and id(w) in model]
    assert not reached, (
        f"the loss of phase {phase.name!r} carries the graph of the model: it has a gradient to "
        f"{reached[0]}; take latents from model.infer_detached(batch), or make passes within "
        "model.detached()"
    )


def check_keeps_no_model(case: Case) -> None:
    """An objective or a regularizer does not keep the model, nor a part of it."""
    bench = case.compose()
    bench.task(bench.batch)
    model = {id(weight): name for name, weight in bench.model.named_parameters()}
    for part in bench.parts:
        kept = [model[id(weight)] for weight in part.parameters() if id(weight) in model]
        assert not kept, (
            f"keeps {kept[0]} of the model, whose weights would be saved and owned twice; take "
            "the model from trace.model in every pass"
        )


def _weights(bench: Bench) -> dict[int, Tensor]:
    return {id(weight): weight for weight in bench.task.parameters() if weight.requires_grad}


def has_phases(case: Case) -> bool:
    """Whether the component has phases of its own."""
    return any(part.phases() for part in case.probe.parts)


def check_training_step(case: Case) -> None:
    """Every weight has one owner and a finite gradient; no step changes weights of others."""
    bench = case.compose()
    phases = bench.task.phases()
    optimizers = [
        PhaseOptimizer(phase, task=bench.task, config=bench.stage.train, total_steps=1)
        for phase in phases
    ]
    check_ownership(bench.task, optimizers)
    for optimizer, phase in zip(optimizers, phases, strict=True):
        check_step(bench.task, optimizer, phase.module, bench.batch)


_TRAINED = (*LATENT_KINDS, *LOSS_KINDS, "encoder", "decoder", "likelihood", "conditioner")

RULES = (
    Rule("z has a gradient", ("latents", "posterior"), check_features),
    Rule("nothing is detached", LOSS_KINDS, check_paths),
    Rule("trains the model", LOSS_KINDS, check_trains_model),
    Rule("passes gradients on", ("decoder", "likelihood"), check_output),
    Rule("does not keep the model", LOSS_KINDS, check_keeps_no_model),
    Rule("phases train their own weights", _TRAINED, check_phases, applies=has_phases),
    Rule(
        "every weight is trained",
        _TRAINED,
        check_training_step,
        applies=lambda case: getattr(case.cls, "decodes", True),
    ),
)
"""Promises about gradients."""
