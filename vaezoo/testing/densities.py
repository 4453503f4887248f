"""Promises about densities: samples follow them, they are normalised, and KLs agree with them.

All comparisons are between means over seeded samples, and allow for six standard errors: the same
numbers are drawn each time, and a right density fails less often than once in 10^8.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import Distribution

from vaezoo.distributions import density_of
from vaezoo.model.trace import Site
from vaezoo.model.wiring import Space
from vaezoo.testing.case import Bench, Case
from vaezoo.testing.passes import LATENT_KINDS
from vaezoo.testing.promise import Rule
from vaezoo.testing.references import all_values, log_reference
from vaezoo.testing.seeds import distributions_of, space_of

_ERRORS = 6.0
_KNOWN = 0.06
"""The largest relative standard error of a mean that says enough."""
_SAMPLES, _HELD_OUT = 2500, 600
_MAX_EVENTS = 4096


def _is_exact(distribution: Distribution) -> bool:
    return density_of(distribution) == "exact"


def _mean(values: Tensor) -> tuple[Tensor, Tensor]:
    """The mean over the first dimension, and its standard error."""
    return values.mean(0), values.std(0) / math.sqrt(len(values))


def importance_identity(distribution: Distribution, support: str) -> str | None:
    """What is wrong with a density and its samples; None if they agree.

    With samples of p, the mean of r/p is 1 for every density r whose support is that of p. Here r
    is estimated from other samples of the same distribution, so that the mean is 1 only if these
    follow p. It is off as well where p is not normalised, or is a mean over dimensions.

    Args:
        distribution: p, with any batch shape.
        support: that of its values, as for spaces and data.
    """
    held_out = distribution.sample(torch.Size((_HELD_OUT,)))
    samples = distribution.sample(torch.Size((_SAMPLES,)))
    event_dims, log_p = len(distribution.event_shape), distribution.log_prob(samples).double()
    if not bool(log_p.isfinite().all()):
        return "the density of a sample is 0 or not finite"
    value = _wrong_ratio(samples, held_out, log_p, support=support, event_dims=event_dims)
    if value is None:
        return None
    return (
        f"E_p[r/p] is {value:.3g}, not 1, for a density r of its samples; log_prob must be the "
        "normalised log-density of what sample() draws, summed over the dimensions of an event"
    )


def _wrong_ratio(
    samples: Tensor, held_out: Tensor, log_p: Tensor, *, support: str, event_dims: int
) -> float | None:
    """E_p[r/p] where it is not 1; None if it is, or if there is no density r of these samples.

    Args:
        samples: of p, ``[n, *batch, *event]``.
        held_out: other samples of p, by which r is estimated.
        log_p: of the samples, ``[n, *batch]``; of several independent events if it has more
            dimensions than log r, which are summed.
        support: that of the values.
        event_dims: the number of dimensions of an event.
    """
    for shrink in (1.0, 0.6) if support == "real" else (1.0,):
        log_r = log_reference(samples, held_out, support, event_dims, shrink=shrink)
        if log_r is None:
            return None
        log_p = log_p.reshape(*log_r.shape, -1).sum(-1)
        value = _mean_ratio(log_r - log_p, may_be_far=shrink == 1)
        if value is not None:
            return value
    return None


def _mean_ratio(log_ratio: Tensor, *, may_be_far: bool) -> float | None:
    """The mean of r/p where it is not 1; None if it is, or if samples say too little.

    Args:
        log_ratio: log r - log p at samples of p, ``[n, *batch]``.
        may_be_far: whether a mean that is far from 1 counts although its error is large.
    """
    peak = log_ratio.amax(0)
    mean, error = _mean((log_ratio - peak).exp())
    log_mean, relative = peak + mean.log(), error / mean
    bad = (relative < _KNOWN) & (log_mean.abs() > _ERRORS * relative + 0.03)
    if may_be_far:
        bad = bad | ((relative < 0.5) & (log_mean.abs() > 3 + _ERRORS * relative))
    return float(log_mean[bad].exp().flatten()[0]) if bool(bad.any()) else None


@torch.no_grad()
def check_samples(case: Case) -> None:
    """Samples follow the density, which is normalised."""
    bench = case.compose()
    for name, distribution in distributions_of(bench):
        if not _is_exact(distribution):
            continue
        space = space_of(bench, name)
        if problem := _total_problem(distribution, space) or importance_identity(
            distribution, space.support
        ):
            raise AssertionError(f"density and samples of {name} disagree: {problem}")


def _total_problem(distribution: Distribution, space: Space) -> str | None:
    """Whether the probabilities of all values do not sum to 1; None where there are too many."""
    if tuple(distribution.event_shape) != space.shape:
        return None
    values = all_values(space.shape, space.support, space.size, _MAX_EVENTS)
    if values is None:
        return None
    places = (len(values), *(1,) * len(distribution.batch_shape), *space.shape)
    spread = values.reshape(places).expand(-1, *distribution.batch_shape, *space.shape)
    total = distribution.log_prob(spread).double().logsumexp(0).exp()
    worst = float(total.flatten()[(total.flatten() - 1).abs().argmax()])
    if abs(worst - 1) < 1e-3:
        return None
    return (
        f"the probabilities of all {len(values)} values sum to {worst:.4g}, not 1; log_prob must "
        "be normalised, and summed over the dimensions of an event"
    )


@torch.no_grad()
def check_kl(case: Case) -> None:
    """The KL is the mean of log q - log p over samples of q."""
    bench = case.compose()
    bench.task.eval()
    inference = bench.model.start_inference(bench.batch, _SAMPLES // 2)
    for site in bench.model.infer(inference).sites:
        if site.density != "exact":
            continue
        difference = (site.kl - site.log_ratio).double()  # [K, B]
        mean, error = _mean(difference)
        scale = site.kl.abs().mean(0) * 1e-3 + 1e-3
        bad = mean.abs() > _ERRORS * error + scale
        if bool(bad.any()):
            place = int(bad.double().argmax())
            kl, ratio = float(site.kl.mean(0)[place]), float(site.log_ratio.mean(0)[place])
            raise AssertionError(
                f"the KL of {site.name!r} is {kl:.4g} nats, but E_q[log q - log p] is "
                f"{ratio:.4g}: mend the closed form of register_kl, or the densities (a mean "
                "where a sum over dimensions belongs, or p and q exchanged?)"
            )


@torch.no_grad()
def check_posterior_samples(case: Case) -> None:
    """The samples z of a pass are samples of the posterior q that comes with them."""
    bench = case.compose()
    for site in _plain_sites(bench):
        own, _ = _mean(site.q.log_prob(site.z).double())
        drawn = site.q.sample(site.z.shape[: site.z.dim() - len(_value_shape(site.q))])
        fresh = site.q.log_prob(drawn.reshape(site.z.shape)).double()
        mean, error = _mean(fresh)
        spread = _mean(site.q.log_prob(site.z).double())[1]
        bad = (own - mean).abs() > _ERRORS * (error + spread) + 1e-3
        assert not bool(bad.any()), (
            f"the samples z of {site.name!r} do not follow its posterior q: log q(z) is "
            f"{float(own[bad].flatten()[0]):.4g} on average, and "
            f"{float(mean[bad].flatten()[0]):.4g} for samples of q; draw z from the q that is "
            "returned"
        )


@torch.no_grad()
def check_log_q(case: Case) -> None:
    """`log_q` of a site is the log-density of its samples."""
    bench = case.compose()
    bench.task.eval()
    inference = bench.model.start_inference(bench.batch, _SAMPLES + _HELD_OUT)
    spaces = {space.name: space for space in bench.model.spaces}
    for site in bench.model.infer(inference).sites:
        space = spaces[site.name]
        if site.log_q is None or site.mask is not None or site.z.shape[2:] != space.shape:
            continue
        value = _wrong_ratio(
            site.z[_HELD_OUT:],
            site.z[:_HELD_OUT],
            site.log_q[_HELD_OUT:].double(),
            support=space.support,
            event_dims=len(space.shape),
        )
        assert value is None, (
            f"log_q of {site.name!r} is not the log-density of its samples z: E[r/q] is "
            f"{value:.3g}, not 1, for a density r of z; look for a forgotten or an inverted "
            "log-determinant, and a mean over dimensions"
        )


def _value_shape(distribution: Distribution) -> tuple[int, ...]:
    return (*distribution.batch_shape, *distribution.event_shape)


def _plain_sites(bench: Bench) -> list[Site]:
    """The sites with exact posteriors that do not depend on other samples, of 2000 samples."""
    bench.task.eval()
    inference = bench.model.start_inference(bench.batch, _SAMPLES // 2)
    sites = bench.model.infer(inference).sites
    return [
        site
        for site in sites
        if site.log_q is None
        and _is_exact(site.q)
        and tuple(site.z.shape[1:]) == tuple(_value_shape(site.q))
    ]


RULES = (
    Rule("samples follow the density", ("prior", "posterior"), check_samples),
    Rule("the KL agrees with the densities", LATENT_KINDS, check_kl),
    Rule("log_q is the density of z", ("latents",), check_log_q),
    Rule("z follows the posterior", ("latents", "posterior"), check_posterior_samples),
)
"""Promises about densities of latent variables."""
