"""Metrics of the latent space: active units, mutual information, aggregate posterior.

The aggregate posterior q(z) is the mixture of the posteriors q(z|x) of all examples.
Shapes: n examples of a split, B examples of a batch, D latent dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
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

_PAIRS_PER_CHUNK = 2**20
"""How many pairs of samples and posteriors, times D, are computed at once, to bound the memory."""


class ActiveUnits(Metric):
    """The number of latent dimensions with a posterior mean that varies over the data
    (Burda et al. 2016, section 5).

    Args:
        threshold: a dimension is active if the variance of its posterior mean is larger.
    """

    def __init__(self, *, threshold: Annotated[float, Gt(0)] = 0.01) -> None:
        self.threshold = threshold

    def __call__(self, model: Model, data: Loader) -> Mapping[str, Estimate]:
        """``active_units``."""
        means = torch.cat([model.posterior_mean(batch) for batch in data.ordered()])
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
    """Log densities at one posterior sample of each example, ``[n]`` each.

    Attributes:
        posterior: log q(z|x).
        aggregate: log q(z).
        prior: log p(z).
    """

    posterior: Tensor
    aggregate: Tensor
    prior: Tensor


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
    n, z = len(batch), site.z[0]  # [n, D]
    rows = max(1, _PAIRS_PER_CHUNK // (n * z.shape[1]))
    log_sums = [  # each from log densities [rows, n] to [rows]
        torch.logsumexp(site.q.log_prob(z[i : i + rows, None]), 1) for i in range(0, n, rows)
    ]
    aggregate = torch.cat(log_sums) - math.log(n)
    return _LogDensities(
        posterior=site.q.log_prob(site.z)[0].cpu(),
        aggregate=aggregate.cpu(),
        prior=site.p.log_prob(site.z)[0].cpu(),
    )


class MutualInformation(Metric):
    """The mutual information I(x; z) = E[log q(z|x) - log q(z)], with q(z) the mixture of all
    posteriors (Hoffman & Johnson 2016).

    The estimate cannot exceed the logarithm of the number of examples, which is reported as
    ``largest_possible``.

    Args:
        examples: how many examples to use, starting with the first.
    """

    def __init__(self, *, examples: Annotated[int, Gt(1)] = 5000) -> None:
        self.examples = examples

    def __call__(self, model: Model, data: Loader) -> Mapping[str, Estimate]:
        """``mutual_information``."""
        log_densities = _log_densities(model, data, self.examples)
        maximum = math.log(len(log_densities.prior))
        log_ratio = log_densities.posterior - log_densities.aggregate
        return {"mutual_information": mean_with_error(log_ratio, largest_possible=maximum)}


class AggregatePosteriorGap(Metric):
    """KL(q(z) || p(z)) of the mixture of all posteriors from the prior: the rate minus the mutual
    information.

    Args:
        examples: how many examples to use, starting with the first.
    """

    def __init__(self, *, examples: Annotated[int, Gt(1)] = 5000) -> None:
        self.examples = examples

    def __call__(self, model: Model, data: Loader) -> Mapping[str, Estimate]:
        """``aggregate_posterior_gap``."""
        log_densities = _log_densities(model, data, self.examples)
        return {
            "aggregate_posterior_gap": mean_with_error(
                log_densities.aggregate - log_densities.prior
            )
        }
