"""Objectives: the reconstruction term of the ELBO, -log p(z), the importance-weighted bound.

Shapes: K samples of the posterior, B examples, D latent dimensions.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Annotated, Literal

import torch
from annotated_types import Gt
from torch import Tensor

from vaezoo.data.batch import Batch
from vaezoo.distributions import detach
from vaezoo.model.objectives import Objective
from vaezoo.model.protocol import GenerativeModel
from vaezoo.model.trace import Site, Trace, elbo, sum_event_dims
from vaezoo.model.wiring import TaskWiring


class Reconstruction(Objective):
    """The distortion -E_q[log p(x|z)]; with the regularizer ``kl`` at weight 1 the negative ELBO.

    Args:
        samples: the number of posterior samples that the distortion is averaged over.
    """

    def __init__(self, wiring: TaskWiring, /, *, samples: Annotated[int, Gt(0)] = 1) -> None:
        super().__init__()
        self.num_samples = samples

    def forward(self, trace: Trace) -> Tensor:
        """The mean over samples, ``[B]``."""
        return trace.mean_distortion


class PriorNLL(Objective):
    """-log p(z) at samples of the posterior, to train a prior on codes that stand still.

    The second stage of two-stage models: an autoregressive prior over codes (van den Oord et al.
    2017), a flow or a diffusion prior. The decoder is skipped, so there is no distortion. For a
    prior of which only a lower bound is known, it is that bound.

    Args:
        samples: the number of posterior samples that it is averaged over.
    """

    decodes = False
    loss_includes_rate = True
    requires_prior_density_only = True

    def __init__(self, wiring: TaskWiring, /, *, samples: Annotated[int, Gt(0)] = 1) -> None:
        super().__init__()
        self.num_samples = samples

    def trace(self, model: GenerativeModel, batch: Batch) -> Trace:
        """A pass without the decoder."""
        trace: Trace = model.infer(model.start_inference(batch, self.num_samples))
        return trace

    def forward(self, trace: Trace) -> Tensor:
        """Summed over latent variables and averaged over samples, in nats ``[B]``."""
        log_p = [sum_event_dims(site.p.log_prob(site.z), site.mask) for site in trace.sites]
        return -trace.mean(torch.stack(log_p).sum(0))

    def bound(self, trace: Trace) -> Tensor:
        """log p(z), ``[B]``, by which weights are selected; no bound on log p(x)."""
        return -self(trace)


class IWAE(Objective):
    """The negative importance-weighted bound -log 1/K Σ_k w_k (Burda et al. 2016, eq. 8).

    The loss includes the rate, so it is not combined with ``kl``.

    Args:
        samples: the number K of posterior samples.
        gradient: the estimator of the gradient; the value of the loss is always the bound.
            ``standard``; ``dreg``, doubly reparameterised (Tucker et al. 2019), unbiased with less
            variance for the encoder; or ``stl``, sticking the landing (Roeder et al. 2017),
            unbiased for K = 1 and biased for K > 1. Both need samples with gradients and a
            posterior whose parameters are known; ``dreg`` also needs one latent variable that is
            drawn at once, not step by step, and a code that is computed from its samples.
    """

    loss_includes_rate = True
    requires_exact_density = True

    def __init__(
        self,
        wiring: TaskWiring,
        /,
        *,
        samples: Annotated[int, Gt(0)] = 8,
        gradient: Literal["standard", "dreg", "stl"] = "standard",
    ) -> None:
        super().__init__()
        if gradient == "dreg" and len(wiring.spaces) != 1:
            count = len(wiring.spaces)
            raise ValueError(
                f"gradient: dreg needs one latent variable, and there are {count}; use standard"
            )
        self.num_samples, self.gradient = samples, gradient
        self.rescales_gradients = gradient == "dreg"
        self.detaches_posterior = gradient != "standard"

    def forward(self, trace: Trace) -> Tensor:
        """The negative bound of each example, ``[B]``.

        Raises:
            ValueError: ``dreg`` or ``stl`` with a posterior that only the pass knows.
        """
        trace.require_importance_weights()
        if self.gradient == "standard":
            return _negative_bound(trace.log_weight)
        log_weight = elbo(  # [K, B]
            trace.log_likelihood, sum(_detach_posterior(site).log_ratio for site in trace.sites)
        )
        if self.gradient == "stl":
            return _negative_bound(log_weight)
        return _doubly_reparameterised_bound(log_weight, trace.sites[0].z)

    def bound(self, trace: Trace) -> Tensor:
        """The K-sample bound for any choice of ``gradient``, ``[B]``."""
        return -_negative_bound(trace.log_weight)


def _detach_posterior(site: Site) -> Site:
    """The site with constant parameters of q, so that gradients flow through z only.

    Raises:
        ValueError: q is not the distribution of z, so that its parameters are not known.
    """
    if site.log_q is not None:
        raise ValueError(f"the gradient of q is not known for {site.name!r}; use standard")
    return replace(site, q=detach(site.q))


def _negative_bound(log_weight: Tensor) -> Tensor:
    """From log weights ``[K, B]`` to -log of their mean, ``[B]``."""
    return math.log(log_weight.shape[0]) - torch.logsumexp(log_weight, 0)


def _doubly_reparameterised_bound(log_weight: Tensor, z: Tensor) -> Tensor:
    """The negative bound with the gradient estimator of Tucker et al. 2019.

    With normalised weights w̃, the gradient is Σ w̃ ∂log w for the model's parameters and
    Σ w̃² ∂log w/∂z ∂z for the posterior's.

    Args:
        log_weight: ``[K, B]``, computed with a detached q, so that z is the only path to the
            posterior.
        z: the samples, ``[K, B, D]``.

    Returns:
        ``[B]``.
    """
    normalised = torch.softmax(log_weight.detach(), 0)  # [K, B], normalised over samples
    if z.requires_grad:
        # weights [K, B, 1] scale the gradient of each sample
        z.register_hook(
            lambda gradient: (
                gradient * normalised.reshape(*normalised.shape, *(1,) * (z.dim() - 2))
            )
        )
    surrogate = -(normalised * log_weight).sum(0)
    # the value of the bound with the gradient of the surrogate
    return surrogate + (_negative_bound(log_weight) - surrogate).detach()
