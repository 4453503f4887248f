"""The KL as a penalty: weighted, held at a capacity, or with free bits.

Shapes: K samples, B examples, T steps of a sequence, D latent dimensions.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from annotated_types import Ge, Gt
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal, kl_divergence

import vaezoo
from vaezoo.distributions import DiagonalNormal
from vaezoo.nn import masked

Groups = Literal["dimension", "site"] | Annotated[int, Gt(0)]


class BetaKL(vaezoo.Regularizer):
    """The rate KL(q(z|x) || p(z)) times beta (Higgins et al. 2017, eq. 4).

    It is the same as ``kl``, except for its default weight.

    Args:
        weight: beta; above 1 it trades reconstruction for a posterior closer to the prior.
    """

    penalizes_rate = True

    def __init__(
        self, wiring: vaezoo.TaskWiring, /, *, weight: float | vaezoo.Schedule = 4.0
    ) -> None:
        super().__init__(weight)

    def forward(self, trace: vaezoo.Trace) -> Tensor:
        """The rate of each example in nats, ``[B]``."""
        return trace.mean_rate


class CapacityKL(vaezoo.Regularizer):
    """|KL - C|: holds the rate at a capacity C that may grow in training.

    From Burgess et al. 2018, eq. 8. The KL is the mean over the examples of a batch.

    Args:
        capacity: C in nats per example; the paper raises it from 0 to 25 over 100,000 steps
            (``linear``).
        weight: gamma.
    """

    penalizes_rate = True
    pools_examples = True

    def __init__(
        self,
        wiring: vaezoo.TaskWiring,
        /,
        *,
        capacity: Annotated[float, Ge(0)] | vaezoo.Schedule,
        weight: float | vaezoo.Schedule = 1000.0,
    ) -> None:
        super().__init__(weight)
        self.capacity = capacity

    def forward(self, trace: vaezoo.Trace) -> Tensor:
        """|mean rate - C| in nats, the same for each example, ``[B]``."""
        capacity = self.capacity
        level = capacity.value if isinstance(capacity, vaezoo.Schedule) else capacity
        rate = vaezoo.BatchShare.current().mean(trace.mean_rate.mean())
        penalty = (rate - level).abs()
        return penalty.expand(len(trace.batch))  # [B]


class FreeBits(vaezoo.Regularizer):
    """Free bits: Σ_groups max(λ, KL of the group) (Kingma et al. 2016, eq. 15).

    The KL of a group is its mean over the examples of a batch, summed over the steps that the mask
    allows. A group below λ costs λ and gets no gradient.

    Args:
        nats: λ, for each group; the paper tries 0.125 to 2.
        groups: ``dimension``, each latent dimension; a number, that many blocks of neighbouring
            dimensions; or ``site``, each latent variable. All but ``site`` need dimensions that
            are independent in the posterior given x, and independent in the prior.
        weight: the weight of the sum.
    """

    penalizes_rate = True
    pools_examples = True

    def __init__(
        self,
        wiring: vaezoo.TaskWiring,
        /,
        *,
        nats: Annotated[float, Ge(0)] = 0.25,
        groups: Groups = "dimension",
        weight: float | vaezoo.Schedule = 1.0,
    ) -> None:
        super().__init__(weight)
        fewest = min((space.dimensions for space in wiring.spaces), default=0)
        if isinstance(groups, int) and groups > fewest:
            dimensions = f"{fewest} latent dimensions"
            raise ValueError(f"groups: {groups} blocks cannot be made of {dimensions}")
        self.nats, self.groups = nats, groups

    def forward(self, trace: vaezoo.Trace) -> Tensor:
        """The sum over groups in nats, the same for each example, ``[B]``.

        Raises:
            ValueError: groups are of dimensions, and the dimensions of a posterior or prior are
                not independent.
        """
        groups = [self._kl_by_group(trace, site) for site in trace.sites]
        kl = vaezoo.BatchShare.current().mean(torch.cat(groups))  # [groups of all sites]
        return kl.clamp(min=self.nats).sum().expand(len(trace.batch))  # [B]

    def _kl_by_group(self, trace: vaezoo.Trace, site: vaezoo.Site) -> Tensor:
        """The mean KL of each group of one latent variable, ``[groups]``."""
        if self.groups == "site":
            return trace.mean(site.kl).mean()[None]
        kl = trace.mean(kl_by_dimension(site)).mean(0)
        if self.groups == "dimension":
            return kl
        return torch.stack([block.sum() for block in kl.tensor_split(self.groups)])


def kl_by_dimension(site: vaezoo.Site) -> Tensor:
    """KL(q || p) of each latent dimension in nats, ``[K, B, D]``, summed over valid steps.

    In closed form if torch has one, else log q - log p at the samples.

    Raises:
        ValueError: the dimensions of q or p are not independent.
    """
    q, p = site_marginals(site), marginals(site.p)
    if q is None or p is None:
        name = (
            f"posterior {posterior_name(site)}" if q is None else f"prior {type(site.p).__name__}"
        )
        needed = "a diagonal posterior (diagonal-normal) and prior (standard-normal)"
        remedy = f"the {name} is not diagonal: use groups: site"
        raise ValueError(f"the KL of each dimension needs {needed}; {remedy}")
    try:
        kl = kl_divergence(q, p)
    except NotImplementedError:
        kl = q.log_prob(site.z) - p.log_prob(site.z)
    kl = kl.expand(site.z.shape).flatten(-len(site.q.event_shape))  # [K, B, D] or [K, B, T, D]
    if site.mask is not None:
        kl = masked(kl, site.mask[None])
    return kl.flatten(2, -2).sum(2) if kl.dim() > 3 else kl  # [K, B, D]


def marginals(distribution: Distribution) -> Distribution | None:
    """The marginal distributions of the scalars of an event, if they are independent.

    Args:
        distribution: batch shape ``[*]``, event shape ``[D]`` (or that of a feature map).

    Returns:
        Batch shape ``[*, D]`` and scalar events, with the dimensions of a feature map in place of
        D; None if the scalars are not independent.
    """
    if isinstance(distribution, DiagonalNormal):
        return Normal(distribution.loc, distribution.scale, validate_args=False)
    if isinstance(distribution, Independent) and not distribution.base_dist.event_shape:
        return distribution.base_dist
    return None


def site_marginals(site: vaezoo.Site) -> Distribution | None:
    """``marginals`` of the posterior; None also if ``q`` is not the distribution of ``z``."""
    return None if site.log_q is not None else marginals(site.q)


def posterior_name(site: vaezoo.Site) -> str:
    """The class of a site's posterior, for messages."""
    refined = ", refined in the pass" if site.log_q is not None else ""
    return f"{type(site.q).__name__}{refined}"


def single_site(trace: vaezoo.Trace) -> vaezoo.Site:
    """The only latent variable of a trace, which must be one vector for each example.

    Raises:
        ValueError: there are several latent variables, or the variable is a sequence or map, or
            its samples enumerate it.
    """
    site = trace.sites[0]
    if trace.weights is not None:
        raise ValueError("it needs samples of the latent vector, which this objective enumerates")
    if len(trace.sites) > 1 or site.z.dim() != 3 or len(site.q.batch_shape) != 1:
        raise ValueError("it needs one latent vector for each example: use latents: single")
    return site
