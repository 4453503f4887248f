"""Promises about units: losses are nats per example, summed over dimensions; bounds are bounds."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from vaezoo.distributions import DiagonalNormal, UnitNormal
from vaezoo.model.objectives import Objective
from vaezoo.model.trace import Site, Trace
from vaezoo.testing.case import Bench, Case
from vaezoo.testing.noise import steady
from vaezoo.testing.passes import LOSS_KINDS, differs
from vaezoo.testing.promise import Rule
from vaezoo.utils.seeds import seeded

_SAMPLES = 4


def objective_of(bench: Bench) -> Objective:
    """The objective, with several samples where it takes a number of them."""
    objective = bench.task.objective
    if type(objective).trace is Objective.trace:  # others choose what the samples are
        objective.num_samples = max(objective.num_samples, _SAMPLES)
    return objective


def _shares(bench: Bench, spread: float = 0.0) -> tuple[Tensor, Tensor] | None:
    """How much the loss falls when log p(x|z) of a sample grows by one nat, ``[K, B]``.

    Args:
        bench: the task.
        spread: added to log p(x|z), growing from sample to sample, to make weights unequal.

    Returns:
        The shares, and the log importance weights (log p(x|z) where they are not defined); None
        if the loss does not depend on log p(x|z).
    """
    objective, likelihood = objective_of(bench), bench.model.likelihood
    original: Any = likelihood.log_prob
    added: list[Tensor] = []

    def log_prob(trace: Trace) -> Tensor:
        value = original(trace)
        added.append(torch.zeros_like(value, requires_grad=True))
        steps = spread * torch.arange(len(value)).to(value)[:, None]  # [K, 1]
        return value + added[-1] + steps

    likelihood.log_prob = log_prob  # type: ignore[method-assign]
    try:
        with seeded(torch.device("cpu"), "promise", "nats"):
            trace = objective.trace(bench.model, bench.batch)
            loss = objective(trace)
        if len(added) != 1 or not loss.requires_grad:
            return None
        (gradient,) = torch.autograd.grad(loss.sum(), added[0], allow_unused=True)
        if gradient is None:
            return None
        has_weights = trace.weights is None and trace.density == "exact"
        weights = trace.log_weight if has_weights else trace.log_likelihood
        return -gradient, weights.detach()
    finally:
        del likelihood.log_prob


def check_nats(case: Case) -> None:
    """One nat more of log p(x|z) is one nat less of loss, for each example."""
    bench = case.compose()
    bench.task.eval()
    found = _shares(bench)
    if found is None or objective_of(bench).weights():
        return  # an objective with weights of its own scales log p(x|z) by them
    shares, log_weights = found
    total = shares.sum(0)  # [B]
    assert not differs(total, torch.ones_like(total), 1e-3), (
        f"not in nats per example: one nat of log p(x|z) changes the loss by {total[0]:.3g} nats; "
        "minimise its negative, sum over dimensions and average over samples only (a mean where a "
        "sum belongs, a wrong sign, or the mean over the batch?)"
    )
    if not bench.task.objective.requires_exact_density:
        return
    # not each pair of samples, which may belong to different bounds of which the loss is the mean
    together = (shares * (log_weights - log_weights.mean(0))).sum(0)  # [B]
    assert float(together.sum()) > -1e-4, (
        "weighs samples the wrong way round: a sample with a larger importance weight has a "
        "smaller share of the gradient; take the softmax of log_weight over samples (dimension "
        "0), not of the loss"
    )


def check_shares(case: Case) -> None:
    """No sample raises the loss by being more likely: weights have no gradient of their own."""
    bench = case.compose()
    bench.task.eval()
    found = _shares(bench, spread=2.0)
    if found is None:
        return
    lowest = float(found[0].min())
    assert lowest > -1e-4, (
        "the importance weights are differentiated: one nat more of log p(x|z) of a sample raises "
        f"the loss by {-lowest:.3g} nats; detach the normalised weights of a surrogate, as in "
        "(log_weight.detach().softmax(0) * log_weight).sum(0)"
    )


def check_bound(case: Case) -> None:
    """The bound lies between the ELBO and the importance-weighted bound of its samples."""
    bench = case.compose()
    bench.task.eval()
    objective = objective_of(bench)
    with seeded(torch.device("cpu"), "promise", "bound"):
        trace = objective.trace(bench.model, bench.batch)
        bound = objective.bound(trace).detach()
    low, high = trace.log_weight.mean(0).detach(), trace.log_weight.amax(0).detach()
    assert not bool((bound < low - 1e-3).any()), (
        f"the bound {float(bound.min()):.4g} is below the ELBO of the same samples; a tighter "
        "bound is above it: look for a wrong sign of log_weight, or a forgotten log K"
    )
    assert not bool((bound > high + 1e-3).any()), (
        "the bound is above the largest log importance weight of its samples, so it is no bound: "
        "subtract log K, and sum over dimensions, not over samples"
    )
    tightest = trace.log_weight.logsumexp(0).detach() - math.log(len(trace.log_weight))
    excess = float((bound - tightest).max())
    assert excess < 1e-3, (
        "the bound is above log p(x) on average: it exceeds the log of the mean importance "
        f"weight by {excess:.3g} nats; return log_weight.logsumexp(0) - log K, not the largest "
        "weight, and not the surrogate that is differentiated"
    )


def has_bound(case: Case) -> bool:
    """Whether an objective has a bound of its own on log p(x)."""
    objective = case.probe.task.objective
    if type(objective).bound is Objective.bound or not objective.decodes:
        return False
    trace = objective.trace(case.probe.model, case.probe.batch)
    return trace.weights is None and trace.density == "exact"


def _doubled(site: Site) -> Site | None:
    """A site with every dimension twice; None if it is not a normal vector."""
    q = site.q
    if type(q) is not DiagonalNormal or len(q.event_shape) != 1 or site.mask is not None:
        return None
    if type(site.p) is not UnitNormal or site.log_q is not None:
        return None

    def twice(value: Tensor) -> Tensor:
        return torch.cat([value, value], -1)

    z = twice(site.z)
    two = DiagonalNormal(twice(q.loc), twice(q.log_scale))
    return replace(site, z=z, q=two, p=UnitNormal(torch.zeros_like(z[0, 0])))


def _doubled_latents(trace: Trace) -> Trace | None:
    sites = [_doubled(site) for site in trace.sites]
    if None in sites or not sites:
        return None
    return replace(trace, sites=tuple(site for site in sites if site is not None))


def _doubled_data(trace: Trace) -> Trace | None:
    """A trace of vectors with every number twice."""
    model: Any = trace.model
    if len(model.data.shape) != 1 or trace.px is None or trace.batch.mask is not None:
        return None
    outputs: list[Tensor] = []
    handle = model.likelihood.register_forward_hook(
        lambda module, inputs, output: outputs.append(inputs[0])
    )
    try:
        model.likelihood_of(trace.code, trace.context, trace.batch.extras)
    finally:
        handle.remove()
    h = torch.cat([outputs[0], outputs[0]], -1)
    batch = replace(trace.batch, x=torch.cat([trace.batch.x, trace.batch.x], -1))
    return replace(trace, px=model.likelihood(h, batch.extras), batch=batch)


def check_doubling(case: Case) -> None:
    """Twice the dimensions are not worth the same: terms are sums over dimensions."""
    bench = case.compose()
    bench.task.eval()
    own: Callable[[Trace], Tensor] = bench.parts[0]
    doubles = {"latent dimensions": _doubled_latents, "numbers of x": _doubled_data}
    if case.kind == "regularizer":
        del doubles["numbers of x"]
    with steady():
        trace = bench.task.objective.trace(bench.model, bench.batch)
        value = own(trace)
        for what, double in doubles.items():
            twice, other = double(trace), double(_moved(trace, what))
            if twice is None or other is None:
                continue
            try:
                found, moved = own(twice), own(other)
            except (RuntimeError, ValueError, TypeError, NotImplementedError):
                continue  # it has weights for these dimensions
            depends = differs(found, moved, 1e-3) and bool((value.abs() > 1e-3).all())
            assert not depends or differs(found, value, 1e-4), (
                f"takes a mean where a sum belongs: the value is the same with each of the {what} "
                "twice; sum over dimensions, so that it is in nats per example"
            )


def _moved(trace: Trace, what: str) -> Trace:
    """A trace of other examples: in another order."""
    order = torch.arange(len(trace.batch)).roll(1)
    if what == "numbers of x":
        return replace(trace, batch=trace.batch.select(order))
    sites = tuple(
        replace(
            site, z=site.z[:, order], q=DiagonalNormal(site.q.loc[order], site.q.log_scale[order])
        )
        if isinstance(site.q, DiagonalNormal) and site.q.loc.shape[:-1] == (len(order),)
        else site
        for site in trace.sites
    )
    return replace(trace, sites=sites)


def _adds_up(case: Case) -> bool:
    return not case.probe.pools_examples


RULES = (
    Rule("is in nats", ("objective",), check_nats),
    Rule(
        "weights have no gradient",
        ("objective",),
        check_shares,
        applies=lambda case: case.cls.requires_exact_density,
    ),
    Rule("sums over dimensions", LOSS_KINDS, check_doubling, applies=_adds_up),
    Rule("the bound is a bound", ("objective",), check_bound, applies=has_bound),
)
"""Promises about units and bounds."""
