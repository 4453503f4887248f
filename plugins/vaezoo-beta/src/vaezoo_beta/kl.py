"""The KL as a penalty: weighted, held at a capacity, or with bits that cost nothing."""

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
    """The rate KL(q(z|x) || p(z)) times beta (Higgins et al. 2017, eq. 4): the core's ``kl`` under the field's name.

    Args:
        weight: beta; above 1 it trades reconstruction for a code closer to the prior.
    """

    penalizes_rate = True

    def __init__(self, wiring: vaezoo.TaskWiring, /, *, weight: float | vaezoo.Schedule = 4.0) -> None:
        super().__init__(weight)

    def forward(self, trace: vaezoo.Trace) -> Tensor:
        """The rate of each example in nats, ``[B]``."""
        return trace.mean_rate


class CapacityKL(vaezoo.Regularizer):
    """|KL - C|: the rate is held at a capacity that may grow over training (Burgess et al. 2018, eq. 8).

    The KL is the mean over the examples of one forward pass: of each process, and of each part of an accumulated batch.

    Args:
        capacity: C in nats per example; the paper takes it from 0 to 25 over 100,000 steps with ``linear``.
        weight: gamma.
    """

    penalizes_rate = True
    level: Tensor

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
        self.register_buffer("level", torch.zeros(()), persistent=False)  # a tensor: a compiled step stays as it is

    def weight_at(self, step: int) -> float | Tensor:
        """Gamma at a step, for which C is remembered too."""
        self.level.fill_(self.capacity(step) if isinstance(self.capacity, vaezoo.Schedule) else self.capacity)
        return super().weight_at(step)

    def forward(self, trace: vaezoo.Trace) -> Tensor:
        """|mean rate - C| in nats, the same for each example, ``[B]``."""
        return (trace.mean_rate.mean() - self.level).abs().expand(len(trace.batch))


class FreeBits(vaezoo.Regularizer):
    """The KL with ``nats`` of it free in each group: Σ_groups max(λ, KL of the group) (Kingma et al. 2016, eq. 15).

    The KL of a group is its mean over the examples of one forward pass, summed over the steps that the mask leaves. A
    group below λ costs λ and gets no gradient.

    Args:
        nats: λ, for each group; the paper tries 0.125 to 2.
        groups: ``dimension``, each dimension by itself; a number, that many blocks of neighbouring dimensions; or
            ``site``, each latent variable as a whole. All but ``site`` need dimensions that are independent given x
            in the posterior, and independent in the prior.
        weight: of the whole sum.
    """

    penalizes_rate = True

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
        if isinstance(groups, int) and groups > wiring.latent_dim:
            raise ValueError(f"groups: {groups} blocks cannot be made of {wiring.latent_dim} latent dimensions")
        self.nats, self.groups = nats, groups

    def forward(self, trace: vaezoo.Trace) -> Tensor:
        """The sum over groups in nats, the same for each example, ``[B]``.

        Raises:
            ValueError: the groups are dimensions, and those of a posterior or prior depend on one another.
        """
        kl = torch.cat([self._of_groups(site) for site in trace.sites])
        return kl.clamp(min=self.nats).sum().expand(len(trace.batch))

    def _of_groups(self, site: vaezoo.Site) -> Tensor:
        """The KL of each group of one latent variable, ``[groups]``."""
        if self.groups == "site":
            return site.kl.mean()[None]
        kl = kl_by_dimension(site).mean((0, 1))
        if self.groups == "dimension":
            return kl
        return torch.stack([block.sum() for block in kl.tensor_split(self.groups)])


def kl_by_dimension(site: vaezoo.Site) -> Tensor:
    """KL(q || p) of each latent dimension in nats, ``[K, B, D]``, summed over the steps that the mask leaves.

    In closed form where torch knows one, else log q - log p at the samples.

    Raises:
        ValueError: the dimensions of q or of p depend on one another.
    """
    q, p = by_dimension(site.q), by_dimension(site.p)
    if q is None or p is None:
        culprit = f"posterior {type(site.q).__name__}" if q is None else f"prior {type(site.p).__name__}"
        needed = "a diagonal posterior (diagonal-normal) and such a prior (standard-normal)"
        raise ValueError(f"the KL of each dimension needs {needed}; the {culprit} is none: use groups: site")
    try:
        kl = kl_divergence(q, p)
    except NotImplementedError:
        kl = q.log_prob(site.z) - p.log_prob(site.z)
    kl = kl.expand(site.z.shape).flatten(-len(site.q.event_shape))  # [K, B, D] or [K, B, T, D]
    if site.mask is not None:
        kl = masked(kl, site.mask[None])
    return kl.flatten(2, -2).sum(2) if kl.dim() > 3 else kl


def by_dimension(distribution: Distribution) -> Distribution | None:
    """The distribution of each scalar of an event by itself; None where they depend on one another.

    Args:
        distribution: over vectors ``[D]`` (or maps), with batch shape ``[*]``.

    Returns:
        One with batch shape ``[*, D]`` and scalar events.
    """
    if isinstance(distribution, DiagonalNormal):
        return Normal(distribution.loc, distribution.scale, validate_args=False)
    if isinstance(distribution, Independent) and not distribution.base_dist.event_shape:
        return distribution.base_dist
    return None


def one_vector(trace: vaezoo.Trace) -> vaezoo.Site:
    """The latent variable of a trace, which must be one vector for each example.

    Raises:
        ValueError: there are several, or one for each step.
    """
    site = trace.sites[0]
    if len(trace.sites) > 1 or site.z.dim() != 3 or len(site.q.batch_shape) != 1:
        raise ValueError("it needs one latent vector for each example: use latents: single")
    return site
