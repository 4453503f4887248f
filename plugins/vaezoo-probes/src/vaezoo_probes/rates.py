"""The rate of each latent dimension.

Shapes: K samples, B examples, T steps, n examples of a split, D latent dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated

import torch
from annotated_types import Gt
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal, kl_divergence

import vaezoo
from vaezoo.distributions import DiagonalNormal
from vaezoo.nn import masked


def marginals(distribution: Distribution) -> Distribution | None:
    """The distributions of the scalars of an event, if they are independent.

    Returns:
        Batch shape ``[*, D]`` (of a map ``[*, C, H, W]``), scalar events; None if the scalars are
        not independent.
    """
    if isinstance(distribution, DiagonalNormal):
        return Normal(distribution.loc, distribution.scale, validate_args=False)
    if isinstance(distribution, Independent) and not distribution.base_dist.event_shape:
        return distribution.base_dist
    return None


def rates_of_site(site: vaezoo.Site) -> Tensor:
    """KL(q || p) of each scalar of a latent variable in nats, summed over its steps, ``[B, D]``.

    In closed form where torch has one, else log q - log p at the sample.

    Raises:
        NotImplementedError: the scalars of the posterior or of the prior are not independent.
    """
    q, p = marginals(site.q), marginals(site.p)
    for name, part in (("posterior", None if site.log_q is not None else q), ("prior", p)):
        if part is None:
            raise NotImplementedError(
                f"the {name} of {site.name!r} has no independent dimensions, so that they have no "
                "rates of their own"
            )
    assert q is not None and p is not None
    try:
        kl = kl_divergence(q, p)
    except NotImplementedError:
        kl = q.log_prob(site.z) - p.log_prob(site.z)
    kl = kl.expand(site.z.shape)[0].flatten(-len(site.q.event_shape))  # [B, D] or [B, T, D]
    if site.mask is not None:
        kl = masked(kl, site.mask)
    return kl.flatten(1, -2).sum(1) if kl.dim() > 2 else kl


class KLPerDimension(vaezoo.Metric):
    """The rate of each latent dimension, and how many have one above a threshold.

    The rate of a dimension is KL(q(z_d|x) || p(z_d)) averaged over examples, in nats; of a
    sequence it is summed over steps. The report shows all of them as bars with 95 % intervals, and
    ``evaluation.json`` has them under ``series``. Defined where the dimensions of posterior and
    prior are independent.

    Args:
        threshold: a dimension is active if its rate is larger, in nats.
    """

    def __init__(self, *, threshold: Annotated[float, Gt(0)] = 0.1) -> None:
        self.threshold = threshold

    def __call__(self, model: vaezoo.Model, data: vaezoo.Loader) -> Mapping[str, vaezoo.Estimate]:
        """``rate_per_dimension``, the mean over dimensions; and ``active_by_rate``."""
        if not model.spaces:
            raise NotImplementedError("the model has no latent variable")
        parts = []
        for batch in data.ordered(model.batch_size()):
            sites = model.infer(model.start_inference(batch)).sites
            parts.append(torch.cat([rates_of_site(site) for site in sites], 1).double().cpu())
        rates = vaezoo.require_finite(torch.cat(parts), "the rate of a dimension of example")
        n, dimensions = rates.shape
        means, of_examples = rates.mean(0), rates.mean(1)
        errors = rates.std(0) / math.sqrt(n) if n > 1 else None
        error = float(of_examples.std()) / math.sqrt(n) if n > 1 else None
        series = vaezoo.Series(
            "dimension",
            list(range(dimensions)),
            means.tolist(),
            None if errors is None else errors.tolist(),
            "bars",
        )
        details = {"dimensions": float(dimensions)}
        active = float((means > self.threshold).sum())
        return {
            "rate_per_dimension": vaezoo.Estimate(
                float(means.mean()), error, n, details, unit="nats", series=series
            ),
            "active_by_rate": vaezoo.Estimate(
                active, None, n, details | {"threshold": self.threshold}, unit="dimensions"
            ),
        }
