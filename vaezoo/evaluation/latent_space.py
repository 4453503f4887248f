"""Metrics of the latent space: active units, mutual information, aggregate posterior.

The aggregate posterior q(z) is the mixture of the posteriors q(z|x) of random examples x.
Shapes: n examples of a split, B examples of a batch, D latent dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated

import torch
from annotated_types import Gt
from torch import Tensor

from vaezoo.data.batch import Batch
from vaezoo.data.loader import Loader
from vaezoo.evaluation.bounds import mean_with_error
from vaezoo.evaluation.metric import Estimate, Metric
from vaezoo.model.model import Model
from vaezoo.model.trace import Site
from vaezoo.utils.finite import require_finite

_PAIRS_PER_CHUNK = 2**20
"""How many pairs of samples and posteriors, times D, are computed at once, to bound the memory."""


class ActiveUnits(Metric):
    """The number of latent dimensions with a posterior mean that varies over the data
    (Burda et al. 2016, section 5).

    Args:
        threshold: a dimension is active if the variance of its posterior mean is larger.
    """

    higher_is_better = frozenset({"active_units"})

    def __init__(self, *, threshold: Annotated[float, Gt(0)] = 0.01) -> None:
        self.threshold = threshold

    def __call__(self, model: Model, data: Loader) -> Mapping[str, Estimate]:
        """``active_units``."""
        means = torch.cat([model.posterior_mean(batch) for batch in data.ordered()])
        require_finite(means, "the posterior mean of example")
        active = (means.double().var(0, correction=0) > self.threshold).sum()
        details = {"dimensions": float(means.shape[1]), "threshold": self.threshold}
        return {
            "active_units": Estimate(float(active), None, len(means), details, unit="dimensions")
        }


def dimension_rates(model: Model, batch: Batch) -> Tensor:
    """The KL of each latent dimension from N(0, 1) in nats, averaged over the batch, ``[D]``.

    Computed from the mean and the variance of the posterior as if it were normal.

    Raises:
        NotImplementedError: the posterior has no density or no variance, or there is more than
            one latent vector, or it is not real.
    """
    sites = model.infer(model.start_inference(batch)).sites
    if len(sites) != 1 or sites[0].z.dim() != 3 or not sites[0].has_density:
        raise NotImplementedError("defined only for one latent vector with a density")
    if model.spaces[0].support != "real" or sites[0].log_q is not None:
        raise NotImplementedError("defined only for a real latent vector sampled from q(z|x)")
    mean, variance = sites[0].q.mean, sites[0].q.variance
    return 0.5 * (mean.square() + variance - 1 - variance.log()).mean(0)


@dataclass(frozen=True)
class _LogDensities:
    """Log densities at one posterior sample of each of n examples, ``[n]`` each, in nats.

    Attributes:
        posterior: log q(z|x).
        prior: log p(z).
        kl: KL(q(z|x) || p(z)), in closed form where there is one.
        mixture: the log of the mean of q(z|x') over all examples x', its own among them.
        others: the same over the other n - 1 examples.
    """

    posterior: Tensor
    prior: Tensor
    kl: Tensor
    mixture: Tensor
    others: Tensor


def _log_densities(model: Model, data: Loader, limit: int) -> _LogDensities:
    """The log densities for the first ``limit`` examples."""
    if model.into_prior:
        raise NotImplementedError("not defined for a conditional prior")
    batch = data.first(min(limit, len(data)))
    sites = model.infer(model.start_inference(batch)).sites
    if len(sites) != 1 or sites[0].z.dim() != 3:
        raise NotImplementedError("defined only for one latent vector")
    site: Site = sites[0]
    if site.density != "exact" or site.log_q is not None:
        raise NotImplementedError("defined only where the densities q(z|x) and p(z) are known")
    posterior = require_finite(site.q.log_prob(site.z)[0].double(), "log q(z|x) of example")
    prior = require_finite(site.p.log_prob(site.z)[0].double(), "log p(z) of example")
    kl = require_finite(site.kl[0].double(), "the rate of example")
    n, z = len(batch), site.z[0]  # [n, D]
    mixture, others = torch.empty_like(posterior), torch.empty_like(posterior)
    count = max(1, _PAIRS_PER_CHUNK // (n * z.shape[1]))
    for rows in torch.arange(n, device=z.device).split(count):
        log_q = site.q.log_prob(z[rows, None]).double()  # [rows, n]
        mixture[rows] = log_q.logsumexp(1) - math.log(n)
        log_q[torch.arange(len(rows)), rows] = -math.inf
        others[rows] = log_q.logsumexp(1) - math.log(max(n - 1, 1))
    return _LogDensities(
        posterior=posterior.cpu(),
        prior=prior.cpu(),
        kl=kl.cpu(),
        mixture=mixture.cpu(),
        others=others.cpu(),
    )


def _bounds(lower: Tensor, upper: Tensor, rate: Tensor) -> tuple[Estimate, Estimate]:
    """The means of a lower and an upper bound, in order, and kept between 0 and the rate.

    Their standard errors are those of the means.

    Args:
        lower, upper, rate: one number per example, ``[n]``.
    """
    first, second = mean_with_error(lower), mean_with_error(upper)
    high = max(0.0, min(second.value, float(rate.mean())))
    low = max(0.0, min(first.value, high))  # chance may have them cross
    # a value that was moved is no mean over examples
    lower_bound = replace(first, value=low, note="", per_example=None)
    return lower_bound, replace(second, value=high, note="", per_example=None)


class MutualInformation(Metric):
    """Bounds of the mutual information I(x; z) of a random example x and a sample z of q(z|x).

    Here x has the distribution that the examples are drawn from, not that of the n examples
    themselves, and z has the density q(z) = E[q(z|x)], the aggregate posterior. All bounds hold in
    expectation over the examples and samples, each with its standard error (Poole et al. 2019):

    - lower: the mean of log q(z|x) - log (1/n) sum q(z|x'), where the sum has all n examples
      (InfoNCE). It cannot exceed log n, ``largest_possible``; close to it, the mutual information
      may be much larger.
    - upper: the smaller one of the mean of log q(z|x) - log 1/(n-1) sum q(z|x'), where the sum
      leaves out x itself, and the rate, which is the mutual information plus KL(q(z) || p(z)).
      Where these two agree within their errors, the choice takes off a part of such an error.

    Args:
        examples: how many examples to use, starting with the first; more give tighter bounds.
    """

    def __init__(self, *, examples: Annotated[int, Gt(1)] = 5000) -> None:
        self.examples = examples

    def __call__(self, model: Model, data: Loader) -> Mapping[str, Estimate]:
        """``mutual_information_lower`` and ``mutual_information_upper``."""
        density = _log_densities(model, data, self.examples)
        note, bound = "the leave-one-out bound", density.posterior - density.others
        if float(bound.mean()) > float(density.kl.mean()):
            note, bound = "the rate", density.kl
        lower, upper = _bounds(density.posterior - density.mixture, bound, density.kl)
        details = {"largest_possible": math.log(len(density.prior))}
        return {
            "mutual_information_lower": replace(
                lower,
                details=details,
                note=_range_note(density, "lower"),
                bound="lower bound of I(x; z)",
            ),
            "mutual_information_upper": replace(upper, note=note, bound="upper bound of I(x; z)"),
        }


class AggregatePosteriorGap(Metric):
    """Bounds of KL(q(z) || p(z)) of the aggregate posterior q(z) from the prior, in nats.

    It is the rate minus the mutual information, whose bounds give the bounds of the gap: see
    ``mutual-information`` for what is meant by q(z), in which sense they hold, and the paper. No
    bound is below 0 or above the rate. The rate is taken in closed form where that gives a smaller
    standard error.

    Args:
        examples: how many examples to use, starting with the first; more give tighter bounds.
    """

    def __init__(self, *, examples: Annotated[int, Gt(1)] = 5000) -> None:
        self.examples = examples

    def __call__(self, model: Model, data: Loader) -> Mapping[str, Estimate]:
        """``aggregate_posterior_gap_lower`` and ``aggregate_posterior_gap_upper``."""
        density = _log_densities(model, data, self.examples)
        lower, upper = _bounds(
            _gap(density, density.others), _gap(density, density.mixture), density.kl
        )
        return {
            "aggregate_posterior_gap_lower": replace(
                lower, bound="lower bound of KL(q(z) || p(z))"
            ),
            "aggregate_posterior_gap_upper": replace(
                upper, note=_range_note(density, "upper"), bound="upper bound of KL(q(z) || p(z))"
            ),
        }


def _gap(density: _LogDensities, aggregate: Tensor) -> Tensor:
    """log q(z) - log p(z), or the rate minus log q(z|x) - log q(z): what varies less, ``[n]``.

    Args:
        density: the log densities.
        aggregate: log q(z), ``[n]``.
    """
    sampled = aggregate - density.prior
    closed = density.kl - (density.posterior - aggregate)
    return min(sampled, closed, key=lambda values: float(values.var(correction=0)))


def _range_note(density: _LogDensities, bound: str) -> str:
    """Says so if the lower bound of the mutual information is within 1 nat of its maximum.

    Args:
        density: the log densities.
        bound: the bound that is loose then, ``lower`` or ``upper``.
    """
    limit = math.log(len(density.prior))
    if float((density.posterior - density.mixture).mean()) < limit - 1:
        return ""
    return (
        f"with {len(density.prior):,} examples the lower bound of the mutual information is at "
        f"most {limit:.2f} nats, so that this {bound} bound may be loose"
    )
