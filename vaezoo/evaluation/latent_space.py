"""What the latent space does: active units, mutual information, and the gap between aggregate posterior and prior."""

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
from vaezoo.evaluation.bounds import estimate
from vaezoo.evaluation.metric import Estimate, Metric
from vaezoo.model.model import Model
from vaezoo.model.trace import Site

_PAIRS_AT_ONCE = 2**20


class ActiveUnits(Metric):
    """How many latent dimensions have a posterior mean that varies over the data (Burda et al. 2016, section 5).

    Args:
        threshold: the variance from which a dimension is active.
    """

    def __init__(self, *, threshold: Annotated[float, Gt(0)] = 0.01) -> None:
        self.threshold = threshold

    def __call__(self, model: Model, data: Loader) -> Mapping[str, Estimate]:
        """``active_units``."""
        means = torch.cat([model.posterior_mean(batch) for batch in data.ordered()])
        active = (means.double().var(0, correction=0) > self.threshold).sum()
        details = {"dimensions": float(means.shape[1]), "threshold": self.threshold}
        return {"active_units": Estimate(float(active), None, len(means), details, "dimensions")}


def dimension_rates(model: Model, batch: Batch) -> Tensor:
    """How much each latent dimension says, ``[D]``: its mean KL from N(0, 1) in nats, by posterior mean and variance.

    Raises:
        NotImplementedError: the posterior has no density, or there is more than one latent vector.
    """
    context = model.context(batch.condition, len(batch))
    sites, _ = model.infer(model.features(batch, context), context, batch.mask, 1)
    if len(sites) != 1 or sites[0].z.dim() != 3 or not sites[0].has_density:
        raise NotImplementedError("defined for one latent vector with a density only")
    mean, variance = sites[0].q.mean, sites[0].q.variance
    return 0.5 * (mean.square() + variance - 1 - variance.log()).mean(0)


@dataclass(frozen=True)
class _Densities:
    """At one posterior sample of each example, ``[n]``: log q(z|x), log of the aggregate posterior, log p(z)."""

    conditional: Tensor
    aggregate: Tensor
    prior: Tensor


def _densities(model: Model, data: Loader, limit: int) -> _Densities:
    if model.into_prior:
        raise NotImplementedError("not defined for a conditional prior")
    batch = data.first(min(limit, len(data)))
    context = model.context(batch.condition, len(batch))
    sites, _ = model.infer(model.features(batch, context), context, batch.mask, 1)
    if len(sites) != 1 or sites[0].z.dim() != 3:
        raise NotImplementedError("defined for one latent vector only")
    site: Site = sites[0]
    n, z = len(batch), site.z[0]  # [n, D]
    rows = max(1, _PAIRS_AT_ONCE // (n * z.shape[1]))
    aggregate = torch.cat(
        [torch.logsumexp(site.q.log_prob(z[i : i + rows, None]), 1) for i in range(0, n, rows)]
    ) - math.log(n)
    return _Densities(site.q.log_prob(site.z)[0].cpu(), aggregate.cpu(), site.p.log_prob(site.z)[0].cpu())


class MutualInformation(Metric):
    """I(x; z) under q, by E[log q(z|x) - log q(z)] with q(z) the mixture of all posteriors (Hoffman & Johnson 2016).

    The estimate cannot exceed the logarithm of the number of examples, which is given beside it.

    Args:
        examples: how many, from the first.
    """

    def __init__(self, *, examples: Annotated[int, Gt(1)] = 5000) -> None:
        self.examples = examples

    def __call__(self, model: Model, data: Loader) -> Mapping[str, Estimate]:
        """``mutual_information``."""
        found = _densities(model, data, self.examples)
        cap = math.log(len(found.prior))
        return {"mutual_information": estimate(found.conditional - found.aggregate, largest_possible=cap)}


class AggregatePosteriorGap(Metric):
    """KL(q(z) || p(z)) of the mixture of all posteriors from the prior: the rate less the mutual information.

    Args:
        examples: how many, from the first.
    """

    def __init__(self, *, examples: Annotated[int, Gt(1)] = 5000) -> None:
        self.examples = examples

    def __call__(self, model: Model, data: Loader) -> Mapping[str, Estimate]:
        """``aggregate_posterior_gap``."""
        found = _densities(model, data, self.examples)
        return {"aggregate_posterior_gap": estimate(found.aggregate - found.prior)}
