"""Promises about what a component declares of itself, and what it leaves to the trainer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vaezoo.model.parts import Prior
from vaezoo.testing.case import CPU, Case
from vaezoo.testing.noise import steady
from vaezoo.testing.passes import differs, loss_results
from vaezoo.testing.promise import Rule
from vaezoo.utils.seeds import seeded

_CODES = 60


def check_weight(case: Case) -> None:
    """A penalty is not weighted: the trainer does that."""
    penalties: list[Tensor] = []
    for weight in (1.0, 3.0):
        bench = case.compose()
        bench.task.eval()
        part: Any = bench.parts[0]
        part.weight = weight
        with steady():
            penalties += loss_results(bench, bench.batch).values()
    assert not differs(penalties[0], penalties[1]), (
        "multiplies the penalty by its weight, which the trainer does as well; return it "
        "unweighted"
    )


@torch.no_grad()
def check_fit(case: Case) -> None:
    """What is fitted to codes is saved with the weights."""
    first, second = case.compose(anew=True), case.compose(anew=True)
    fitted, loaded = (bench.parts[0] for bench in (first, second))
    assert isinstance(fitted, Prior)
    shape = first.model.spaces[0].shape
    with seeded(CPU, "promise", "codes"):
        codes = 1 + 0.5 * torch.randn(_CODES, *shape)
    fitted.fit(codes, None)
    loaded.load_state_dict(fitted.state_dict())
    densities = []
    for part in (fitted, loaded):
        with steady():  # a density that is only a bound may be estimated from samples
            densities.append(part(None, first.model).log_prob(codes))
    assert torch.equal(*densities), (
        "what `fit` finds is lost with the process: weights that are saved and loaded give "
        "another density; keep it in buffers, and change them in place"
    )


@torch.no_grad()
def check_fit_density(case: Case) -> None:
    """A prior is fitted to codes: these are more probable afterwards."""
    bench = case.compose()
    part = bench.parts[0]
    assert isinstance(part, Prior)
    with seeded(CPU, "promise", "codes"):
        codes = 3 + 0.1 * torch.randn(_CODES, *bench.model.spaces[0].shape)
    densities = []
    for is_fitted in (False, True):
        if is_fitted:
            part.fit(codes, None)
        with steady():
            densities.append(float(part(None, bench.model).log_prob(codes).mean()))
    before, after = densities
    assert after > before, (
        f"`fit` does not fit: the mean log-density of the codes is {after:.4g} after it, and was "
        f"{before:.4g} before; look for a mean or a scale that is not set, and a variance where "
        "the scale belongs"
    )


def _fits_real(case: Case) -> bool:
    space = case.probe.model.spaces[0]
    return _can_be_fitted(case) and space.support == "real"


def _can_be_fitted(case: Case) -> bool:
    can_fit = getattr(case.cls, "fit", None) is not Prior.fit
    return can_fit and not case.probe.model.into_prior


def check_unconditional(case: Case) -> None:
    """The context without a condition has the shape of those with one, if there is one."""
    bench = case.compose()
    model = bench.model
    context = model.context(bench.batch.condition, len(bench.batch))
    assert context is not None and model.conditioner is not None
    try:
        without = model.conditioner.unconditional_context(3)
    except ValueError:
        return  # it needs a condition, and says so
    assert without.shape == (3, *context.shape[1:]), (
        f"unconditional_context(3) has the shape {tuple(without.shape)}, not "
        f"{(3, *context.shape[1:])} as contexts of conditions have"
    )


RULES = (
    Rule("leaves its weight to the trainer", ("regularizer",), check_weight),
    Rule("what is fitted is saved", ("prior",), check_fit, applies=_can_be_fitted),
    Rule("fitting helps the codes", ("prior",), check_fit_density, applies=_fits_real),
    Rule("works without a condition or says so", ("conditioner",), check_unconditional),
)
"""Promises about declarations."""
