"""The total correlation of the aggregate posterior.

Shapes: M examples, D latent dimensions, R rows of a chunk.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated

import torch
from annotated_types import Gt
from torch import Tensor
from torch.distributions import Distribution

import vaezoo
from vaezoo_probes.rates import marginals

_NUMBERS_PER_CHUNK = 2**22
"""How many log-densities are in memory at once."""


def total_correlation(q: Distribution, z: Tensor, order: Tensor | None = None) -> Tensor:
    """log q(z) - Σ_d log q(z_d) at a sample of each example, in nats, float64 ``[M]``.

    q(z) = 1/M Σ_j q(z|x_j) over all M examples, its own among them (Chen et al. 2018, eq. 2). As a
    sample of every example is a stratified sample of this mixture, the mean is an unbiased
    estimate of the total correlation of the aggregate posterior of these M examples.

    Args:
        q: the posteriors of scalars, of batch shape ``[M, D]``.
        z: a sample of each, ``[M, D]``.
        order: a permutation of the examples for each dimension, ``[M, D]``. The dimensions of the
            posteriors and samples are then exchanged between examples, so that they no longer
            depend on one another.
    """
    m, dimensions = z.shape
    if order is not None:
        z = z.gather(0, order)
    values = []
    for rows in z.split(max(1, _NUMBERS_PER_CHUNK // (m * dimensions))):
        log_q = q.log_prob(rows[:, None]).double()  # [R, M, D]: log q(z_id | x_jd)
        product = log_q.logsumexp(1).sum(-1) - dimensions * math.log(m)
        if order is not None:
            log_q = log_q.gather(1, order.expand(len(rows), -1, -1))
        values.append(log_q.sum(-1).logsumexp(1) - math.log(m) - product)
    return torch.cat(values)


def note_of_floor(values: Tensor, floor: Tensor) -> str:
    """Says so where at least half of a total correlation comes from too few examples.

    Args:
        values, floor: of each example, ``[M]``.
    """
    noise = 3 * float(floor.std()) / math.sqrt(len(floor))
    if float(floor.mean()) <= max(noise, float(values.mean()) / 2):
        return ""
    return (
        f"independent dimensions would read {float(floor.mean()):.3g} with {len(floor):,} "
        "examples, so that these are too few"
    )


class TotalCorrelation(vaezoo.Metric):
    """The total correlation KL(q(z) || Π_d q(z_d)) of the aggregate posterior, in nats.

    q(z) is the mixture of the posteriors of the examples used (Chen et al. 2018, eq. 2), for which
    the estimate is unbiased. With few examples and narrow posteriors even independent dimensions
    look dependent, so that it is too large for the aggregate posterior of all data; the detail
    ``floor`` is what the same number would be if they were independent: each dimension's
    posteriors are exchanged between examples. Defined for one latent vector whose dimensions are
    independent given x.

    Args:
        examples: how many examples to use, starting with the first. The time grows with the
            square.
    """

    lower_is_better = frozenset({"total_correlation"})

    def __init__(self, *, examples: Annotated[int, Gt(1)] = 2000) -> None:
        self.examples = examples

    def __call__(self, model: vaezoo.Model, data: vaezoo.Loader) -> Mapping[str, vaezoo.Estimate]:
        """``total_correlation``; its details have the ``floor``."""
        batch = data.first(min(self.examples, len(data)))
        sites = model.infer(model.start_inference(batch)).sites
        if len(sites) != 1 or sites[0].z.dim() != 3:
            raise NotImplementedError("defined only for one latent vector of each example")
        site = sites[0]
        q = None if site.log_q is not None else marginals(site.q)
        if q is None:
            raise NotImplementedError(
                f"the posterior of {site.name!r} has no independent dimensions given x"
            )
        vaezoo.require_finite(site.z[0], "the latent sample of example")
        z = site.z[0]  # [M, D]
        order = torch.stack([torch.randperm(len(z)) for _ in range(z.shape[1])], 1).to(z.device)
        values, floor = total_correlation(q, z), total_correlation(q, z, order)
        error = float(values.std() / math.sqrt(len(values))) if len(values) > 1 else None
        details = {"floor": float(floor.mean()), "dimensions": float(z.shape[1])}
        note = note_of_floor(values, floor)
        estimate = vaezoo.Estimate(
            float(values.mean()), error, len(values), details, unit="nats", note=note
        )
        return {"total_correlation": estimate}
