"""Objectives: a trace to the loss of each example."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from annotated_types import Gt
from torch import Tensor

from vaezoo.distributions import detach
from vaezoo.model.objectives import Objective
from vaezoo.model.trace import Site, Trace


class Reconstruction(Objective):
    """The distortion -E_q[log p(x|z)]. With ``kl`` at weight 1 beside it the loss is the negative ELBO.

    Args:
        samples: how many posterior samples it is averaged over.
    """

    def __init__(self, *, samples: Annotated[int, Gt(0)] = 1) -> None:
        super().__init__()
        self.num_samples = samples

    def forward(self, trace: Trace) -> Tensor:
        """The mean over samples, ``[B]``."""
        return trace.mean_distortion


class IWAE(Objective):
    """The negative importance-weighted bound -log 1/K Σ_k w_k (Burda et al. 2016, eq. 8). It counts the rate.

    Args:
        samples: K.
        gradient: ``standard``; ``dreg``, the doubly reparameterised estimator (Tucker et al. 2019), unbiased with
            less noise for the encoder; or ``stl``, sticking the landing (Roeder et al. 2017), unbiased at K = 1 and
            biased for K > 1. The value of the loss is the bound whichever is chosen.
    """

    loss_includes_rate = True

    def __init__(
        self, *, samples: Annotated[int, Gt(0)] = 8, gradient: Literal["standard", "dreg", "stl"] = "standard"
    ) -> None:
        super().__init__()
        self.num_samples, self.gradient = samples, gradient
        self.rescales_gradients = gradient == "dreg"

    def forward(self, trace: Trace) -> Tensor:
        """The negative bound of each example, ``[B]``.

        Raises:
            ValueError: ``dreg`` with more than one latent site, for which the estimator is not defined.
        """
        if self.gradient == "standard":
            return _negative_bound(trace.log_weight)
        log_weight = trace.log_likelihood - sum(_stop(site).log_ratio for site in trace.sites)
        if self.gradient == "stl":
            return _negative_bound(log_weight)
        if len(trace.sites) > 1:
            raise ValueError("gradient: dreg is defined for one latent site only; use standard")
        return _doubly_reparameterised(log_weight, trace.sites[0].z)

    def bound(self, trace: Trace) -> Tensor:
        """The K-sample bound, ``[B]``, whichever gradient is chosen."""
        return -_negative_bound(trace.log_weight)


def _stop(site: Site) -> Site:
    """The site with q's parameters constant: only the path through z is left."""
    return Site(site.z, detach(site.q), site.p, site.mask)


def _negative_bound(log_weight: Tensor) -> Tensor:
    """From log weights ``[K, B]`` to -log of their mean, ``[B]``."""
    return math.log(log_weight.shape[0]) - torch.logsumexp(log_weight, 0)


def _doubly_reparameterised(log_weight: Tensor, z: Tensor) -> Tensor:
    """The bound's value, with gradients Σ w̃ ∂log w for the model and Σ w̃² ∂log w ∂z for the posterior.

    ``log_weight`` must come from a detached q, so that the posterior is reached through ``z`` alone.
    """
    normalised = torch.softmax(log_weight.detach(), 0)  # [K, B]: over samples, not over the batch
    if z.requires_grad:
        z.register_hook(lambda gradient: gradient * normalised.reshape(*normalised.shape, *(1,) * (z.dim() - 2)))
    surrogate = -(normalised * log_weight).sum(0)
    return surrogate + (_negative_bound(log_weight) - surrogate).detach()
