"""Promises about what a component declares of itself, and what it leaves to the trainer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from vaezoo.distributions import UnitNormal
from vaezoo.model.objectives import Objective
from vaezoo.model.parts import Prior
from vaezoo.model.trace import Trace
from vaezoo.testing.case import CPU, Case
from vaezoo.testing.noise import steady
from vaezoo.testing.passes import differs, loss_results
from vaezoo.testing.promise import Rule
from vaezoo.utils.seeds import seeded

_CODES = 60


class _Raised(Distribution):
    """N(0, I) whose log-density is too large by a constant; its KL has no closed form."""

    arg_constraints: dict[str, Any] = {}

    def __init__(self, base: UnitNormal, amount: float) -> None:
        super().__init__(base.batch_shape, base.event_shape, validate_args=False)
        self.base, self.amount = base, amount

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Samples of N(0, I)."""
        drawn: Tensor = self.base.sample(sample_shape)
        return drawn

    def log_prob(self, value: Tensor) -> Tensor:
        """The log-density of N(0, I) plus the constant."""
        density: Tensor = self.base.log_prob(value)
        return density + self.amount


def _raised(trace: Trace, amount: float) -> Trace:
    sites = tuple(
        replace(site, p=_Raised(site.p, amount)) if isinstance(site.p, UnitNormal) else site
        for site in trace.sites
    )
    return replace(trace, sites=sites)


def check_rate_flag(case: Case) -> None:
    """An objective whose loss includes the rate says so."""
    bench = case.compose()
    bench.task.eval()
    objective: Objective = bench.task.objective
    losses = []
    for amount in (0.0, 1.0):
        with steady():  # the same noise each time
            trace = objective.trace(bench.model, bench.batch)
            losses.append(objective(_raised(trace, amount)))
    assert not differs(*losses), (
        "the loss includes the rate but does not say so, so that the default regularizer `kl` "
        "counts it twice; set loss_includes_rate = True"
    )


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
    Rule(
        "says whether the loss includes the rate",
        ("objective",),
        check_rate_flag,
        applies=lambda case: not case.cls.loss_includes_rate,
    ),
    Rule("leaves its weight to the trainer", ("regularizer",), check_weight),
    Rule("what is fitted is saved", ("prior",), check_fit, applies=_can_be_fitted),
    Rule("works without a condition or says so", ("conditioner",), check_unconditional),
)
"""Promises about declarations."""
