"""Promises about the rate in a loss: its sign, its scale, and its mean over samples."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from vaezoo.distributions import UnitNormal
from vaezoo.model.objectives import Objective
from vaezoo.model.trace import Trace
from vaezoo.testing.case import Bench, Case
from vaezoo.testing.nats import objective_of
from vaezoo.testing.noise import steady
from vaezoo.testing.passes import LOSS_KINDS, differs, loss_of
from vaezoo.testing.promise import Rule

_FALL = 50.0


class Raised(Distribution):
    """N(0, I) whose log-density is too large by a constant; its KL has no closed form.

    Args:
        base: the normal.
        amount: the constant, in nats.
    """

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


def raised(trace: Trace, amount: float) -> Trace:
    """A trace in which the log-densities of N(0, I) priors are larger by ``amount`` nats."""
    sites = tuple(
        replace(site, p=Raised(site.p, amount)) if isinstance(site.p, UnitNormal) else site
        for site in trace.sites
    )
    return replace(trace, sites=sites)


def check_rate_flag(case: Case) -> None:
    """An objective whose loss includes the rate says so."""
    falls = _fall(case.compose(), 1.0)
    assert not differs(falls, torch.zeros_like(falls)), (
        "the loss includes the rate but does not say so, so that the default regularizer `kl` "
        "counts it twice; set loss_includes_rate = True"
    )


def _fall(bench: Bench, amount: float) -> Tensor:
    """How much the loss falls when log p(z) rises by ``amount`` nats, ``[B]``."""
    bench.task.eval()
    objective, values = objective_of(bench), []
    for added in (0.0, amount):
        with steady():  # the same noise each time
            trace = objective.trace(bench.model, bench.batch)
            values.append(loss_of(bench, raised(trace, added)).detach())
    return values[0] - values[1]


def check_rate(case: Case) -> None:
    """One nat more of log p(z) is one nat less of loss."""
    bench = case.compose()
    fall, k = _fall(bench, 1.0), bench.task.objective.num_samples
    if not differs(fall, torch.zeros_like(fall)):
        return  # a KL of its own, which does not ask the prior
    found = float(fall.mean())
    cause = "count it once: distortion + rate"
    if found < 0:
        cause = "it has the wrong sign: add the rate to the distortion"
    elif abs(found - k) < 0.01:
        cause = f"it is summed over the K = {k} samples: take the mean over dimension 0"
    assert not differs(fall, torch.ones_like(fall), 1e-3), (
        f"the rate does not count once in the loss: one nat more of log p(z) lowers it by "
        f"{found:.3g} nats; {cause}"
    )


def check_penalty(case: Case) -> None:
    """A penalty of the rate does not fall when the rate grows."""
    try:
        change = _fall(case.compose(), -_FALL)
    except ValueError:
        return  # it is the rate of certain priors only
    assert not bool((change > 1e-3).any()), (
        f"the penalty has the wrong sign: it falls by {float(change.max()):.3g} nats when the "
        f"rate grows by {_FALL:.0f}, so that training makes the rate as large as it can; return "
        "the rate itself, not its negative"
    )


def _has_unit_prior(case: Case) -> bool:
    """Whether there is one latent variable, with the prior N(0, I) and without steps."""
    bench = case.probe
    sites = bench.task.objective.trace(bench.model, bench.batch).sites
    return len(sites) == 1 and isinstance(sites[0].p, UnitNormal) and sites[0].mask is None


def _includes_rate(case: Case) -> bool:
    objective = case.probe.task.objective
    return case.cls.loss_includes_rate and not objective.weights() and _has_unit_prior(case)


def check_equal_samples(case: Case) -> None:
    """Several equal samples cost what one costs."""
    bench = case.compose()
    bench.task.eval()
    single, several = _of_equal_samples(bench, 1), _of_equal_samples(bench, 2)
    if single is None or several is None or not differs(single, several, 1e-3):
        return
    is_sum = not differs(2 * single, several, 1e-3)
    cause = "it is summed over samples" if is_sum else "K and B confused, or a part of it summed?"
    raise AssertionError(
        f"does not average over samples: two equal samples of each example cost "
        f"{float(several[0]):.4g} nats, and one {float(single[0]):.4g} ({cause}); values are "
        "[K, B, ...], so take trace.mean(value), the mean over dimension 0"
    )


def _of_equal_samples(bench: Bench, k: int) -> Tensor | None:
    """The loss of K samples that are all the same; None if it cannot be had of K."""
    with steady(varies=False):
        trace = bench.model(bench.batch, k)
        try:
            return loss_of(bench, trace).detach()
        except (RuntimeError, ValueError, TypeError, NotImplementedError):
            return None  # it groups samples, for example


def _takes_any_samples(case: Case) -> bool:
    bench = case.probe
    return type(bench.task.objective).trace is Objective.trace and not bench.pools_examples


RULES = (
    Rule(
        "says whether the loss includes the rate",
        ("objective",),
        check_rate_flag,
        applies=lambda case: not case.cls.loss_includes_rate,
    ),
    Rule("counts the rate once", ("objective",), check_rate, applies=_includes_rate),
    Rule(
        "penalises a larger rate",
        ("regularizer",),
        check_penalty,
        applies=lambda case: case.cls.penalizes_rate and _has_unit_prior(case),
    ),
    Rule("averages over samples", LOSS_KINDS, check_equal_samples, applies=_takes_any_samples),
)
"""Promises about the rate."""
