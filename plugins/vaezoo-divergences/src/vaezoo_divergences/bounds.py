"""Bounds of several samples: the Renyi bound, and those that are means or mixtures of IWAE's.

Shapes: K samples in a bound, M bounds, B examples. ``log w`` is log p(x, z) - log q(z|x).
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Annotated

from annotated_types import Ge, Gt, Le
from torch import Tensor

import vaezoo

_NEAR_ONE = 1e-3
"""How near to the order 1 the bound is computed by the first two terms of its series."""


def _log_mean_exp(log_weight: Tensor, dim: int = 0) -> Tensor:
    return log_weight.logsumexp(dim) - math.log(log_weight.shape[dim])


class _WeightedBound(vaezoo.Objective):
    """An objective of importance weights, whose loss includes the rate."""

    loss_includes_rate = True
    requires_exact_density = True

    def __init__(self, samples: int) -> None:
        super().__init__()
        self.num_samples = samples

    def forward(self, trace: vaezoo.Trace) -> Tensor:
        """The negative bound of each example in nats, ``[B]``."""
        trace.require_importance_weights()
        return -self.bound(trace)


class Renyi(_WeightedBound):
    """The variational Renyi bound of order alpha (Li & Turner 2016, eq. 10).

    1 / (1 - alpha) log 1/K sum over k of w_k^(1 - alpha): the importance-weighted bound at alpha
    0, the ELBO at 1. It falls as alpha rises. Below 0 it is no lower bound of log p(x); weights
    are then selected by the importance-weighted bound. The loss includes the rate, so it is not
    combined with ``kl``.

    Args:
        alpha: the order.
        samples: the number K of posterior samples.
    """

    def __init__(
        self,
        wiring: vaezoo.TaskWiring,
        /,
        *,
        alpha: float = 0.5,
        samples: Annotated[int, Gt(0)] = 8,
    ) -> None:
        super().__init__(samples)
        self.alpha = alpha

    def forward(self, trace: vaezoo.Trace) -> Tensor:
        """The negative estimate of each example in nats, ``[B]``."""
        trace.require_importance_weights()
        return -self._of_order(trace.log_weight, self.alpha)

    def bound(self, trace: vaezoo.Trace) -> Tensor:
        """The bound, or that of order 0 where alpha is below it, ``[B]``."""
        return self._of_order(trace.log_weight, max(self.alpha, 0.0))

    @staticmethod
    def _of_order(log_weight: Tensor, alpha: float) -> Tensor:
        mean = log_weight.mean(0)
        if abs(1 - alpha) < _NEAR_ONE:  # the quotient of two small numbers: its first two terms
            return mean + 0.5 * (1 - alpha) * log_weight.var(0, correction=0)
        return _log_mean_exp((1 - alpha) * log_weight) / (1 - alpha)


class MIWAE(_WeightedBound):
    """The mean of M importance-weighted bounds of K samples each (Rainforth et al. 2018, eq. 8).

    More bounds reduce the noise of the gradient, more samples tighten the bound. The loss includes
    the rate, so it is not combined with ``kl``.

    Args:
        bounds: M.
        samples: K, the number of posterior samples of each bound.
    """

    def __init__(
        self,
        wiring: vaezoo.TaskWiring,
        /,
        *,
        bounds: Annotated[int, Gt(0)] = 8,
        samples: Annotated[int, Gt(0)] = 8,
    ) -> None:
        super().__init__(bounds * samples)
        self.bounds, self.samples = bounds, samples

    def bound(self, trace: vaezoo.Trace) -> Tensor:
        """The mean of the bounds, ``[B]``."""
        grouped = trace.log_weight.unflatten(0, (self.bounds, self.samples))  # [M, K, B]
        return _log_mean_exp(grouped, 1).mean(0)


class PIWAE(_WeightedBound):
    """The decoder is trained by one bound of M K samples, the encoder by M of K (Rainforth 2018).

    Section 5 of the paper. The value of the loss is the bound of M K samples. The decoder runs a
    second time, at codes without gradients, which takes the encoder's gradient apart from its own.
    A prior that uses the encoder, such as the VampPrior, trains the encoder by both. The loss
    includes the rate, so it is not combined with ``kl``.

    Args:
        bounds: M.
        samples: K, the number of posterior samples of each of the encoder's bounds.
    """

    def __init__(
        self,
        wiring: vaezoo.TaskWiring,
        /,
        *,
        bounds: Annotated[int, Gt(0)] = 8,
        samples: Annotated[int, Gt(0)] = 8,
    ) -> None:
        super().__init__(bounds * samples)
        if len(wiring.spaces) != 1:
            raise ValueError(
                f"needs one latent variable, and there are {len(wiring.spaces)}; use miwae"
            )
        self.bounds, self.samples = bounds, samples

    def forward(self, trace: vaezoo.Trace) -> Tensor:
        """The negative bound of M K samples in nats, with two gradients, ``[B]``.

        Raises:
            ValueError: the latent variable has steps, or its samples are refined in the pass.
        """
        trace.require_importance_weights()
        (site,) = trace.sites
        if site.mask is not None or site.log_q is not None:
            kind = "has steps" if site.mask is not None else "is refined in the pass"
            raise ValueError(
                f"needs samples that depend on the encoder alone, and {site.name!r} {kind}; "
                "use miwae"
            )
        log_weight = trace.log_weight  # [M K, B]
        grouped = log_weight.detach().unflatten(0, (self.bounds, self.samples))  # [M, K, B]
        for_encoder = (grouped.softmax(1) / self.bounds).flatten(0, 1)
        for_decoder = log_weight.detach().softmax(0)
        joint = self._log_joint_of_constant_codes(trace)
        # the first term has the encoder's gradient, and the second corrects the decoder's
        surrogate = for_encoder * log_weight + (for_decoder - for_encoder) * joint
        value = self.bound(trace)
        total = surrogate.sum(0)
        return -(total + (value - total).detach())

    def bound(self, trace: vaezoo.Trace) -> Tensor:
        """The importance-weighted bound of M K samples, ``[B]``."""
        return _log_mean_exp(trace.log_weight)

    @staticmethod
    def _log_joint_of_constant_codes(trace: vaezoo.Trace) -> Tensor:
        """log p(x, z) at codes without gradients, ``[M K, B]``."""
        (site,) = trace.sites
        code = trace.code.detach()
        px = trace.model.likelihood_of(code, trace.context, trace.batch.extras)
        again = replace(trace, code=code, px=px)
        return again.log_likelihood + site.p.log_prob(site.z.detach())


class CIWAE(_WeightedBound):
    """beta ELBO + (1 - beta) times the importance-weighted bound (Rainforth et al. 2018, eq. 10).

    The loss includes the rate, so it is not combined with ``kl``.

    Args:
        beta: the share of the ELBO.
        samples: the number K of posterior samples.
    """

    def __init__(
        self,
        wiring: vaezoo.TaskWiring,
        /,
        *,
        beta: Annotated[float, Ge(0), Le(1)] = 0.5,
        samples: Annotated[int, Gt(0)] = 8,
    ) -> None:
        super().__init__(samples)
        self.beta = beta

    def bound(self, trace: vaezoo.Trace) -> Tensor:
        """The mixture of both bounds, ``[B]``."""
        log_weight = trace.log_weight
        return self.beta * log_weight.mean(0) + (1 - self.beta) * _log_mean_exp(log_weight)
