"""The results of one forward pass: the batch, the sampled latent variables and the likelihood.

Shapes: K samples of the posterior, B examples, T steps of a sequence, D latent dimensions. All
quantities are in nats.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeAlias, TypeVar

import torch
from torch import Tensor
from torch.distributions import Distribution, kl_divergence

from vaezoo.data.batch import Batch
from vaezoo.distributions import Implicit

Nats = TypeVar("Nats", Tensor, float)


def elbo(log_likelihood: Nats, kl: Nats | float) -> Nats:
    """The evidence lower bound E_q[log p(x|z)] - KL(q(z|x) || p(z)), in nats per example.

    Kingma & Welling 2014, eq. 3. Works on means over samples ``[B]`` and on each sample
    ``[K, B]``, where log q(z|x) - log p(z) may replace the KL.
    """
    return log_likelihood - kl


def sum_event_dims(value: Tensor, mask: Tensor | None) -> Tensor:
    """Sums log-probabilities ``[K, B, *event]`` to ``[K, B]``; skips what the mask hides.

    Args:
        value: ``[K, B]``, or ``[K, B, *event]`` with one element for each entry of the mask.
        mask: ``[B, *event]``, True where observed.

    Raises:
        ValueError: the mask's shape does not match ``value``.
    """
    if mask is not None:
        if mask.shape != value.shape[1:]:
            raise ValueError(
                f"mask {tuple(mask.shape)} does not cover log-probabilities {tuple(value.shape)}"
            )
        value = torch.where(mask, value, torch.zeros((), dtype=value.dtype, device=value.device))
    return value.flatten(2).sum(-1) if value.dim() > 2 else value  # [K, B, events] -> [K, B]


def mean_over_samples(value: Tensor) -> Tensor:
    """The mean over samples, from ``[K, B]`` to ``[B]``."""
    return value.squeeze(0) if value.shape[0] == 1 else value.mean(0)


@dataclass(frozen=True)
class Site:
    """One latent variable in one forward pass.

    Attributes:
        z: samples of the posterior, ``[K, B, *event]``, or ``[K, B, T, *event]`` with a mask.
        q: the posterior q(z|x); its batch shape broadcasts to ``[K, B]`` (``[K, B, T]``).
        p: the prior p(z) or p(z|context); its batch shape broadcasts likewise.
        mask: True where the variable exists, ``[B, T]``; None means everywhere.
        stride: the number of data steps that one latent step covers.
    """

    z: Tensor
    q: Distribution
    p: Distribution
    mask: Tensor | None = None
    stride: int = field(default=1, kw_only=True)

    @property
    def has_density(self) -> bool:
        """Whether q has a density. Without one, neither the KL nor ``log_ratio`` is defined."""
        return not isinstance(self.q, Implicit)

    def prior_sample(self) -> Tensor:
        """A new sample of the prior with the shape of ``z``, for any batch shape of the prior."""
        missing = self.z.dim() - len(self.p.batch_shape) - len(self.p.event_shape)
        return self.p.sample(self.z.shape[:missing])

    @cached_property
    def log_ratio(self) -> Tensor:
        """log q(z|x) - log p(z) at the samples, ``[K, B]``: an unbiased estimate of the KL.

        Raises:
            NotImplementedError: q has no density.
        """
        return sum_event_dims(self.q.log_prob(self.z) - self.p.log_prob(self.z), self.mask)

    @cached_property
    def kl(self) -> Tensor:
        """KL(q || p), ``[K, B]``: in closed form where torch has one, otherwise ``log_ratio``."""
        try:
            kl = kl_divergence(self.q, self.p)
        except NotImplementedError:
            return self.log_ratio
        shape = self.z.shape[: self.z.dim() - len(self.q.event_shape)]
        return sum_event_dims(kl.expand(shape), self.mask)  # expanded to [K, B] or [K, B, T]


@dataclass(frozen=True)
class Trace:
    """The results of one forward pass of a model.

    Attributes:
        batch: the examples.
        sites: the latent variables, in the order of generation.
        px: the likelihood p(x|z), which broadcasts to ``[K, B]``; None if the decoder was skipped.
        context: the conditioner's output ``[B, ...]``; None in an unconditional model.
    """

    batch: Batch
    sites: tuple[Site, ...]
    px: Distribution | None
    context: Tensor | None = None

    @property
    def has_rate(self) -> bool:
        """Whether the rate is defined: every posterior has a density."""
        return all(site.has_density for site in self.sites)

    @cached_property
    def log_likelihood(self) -> Tensor:
        """log p(x|z), ``[K, B]``.

        Raises:
            ValueError: the decoder was skipped in this pass.
        """
        if self.px is None:
            raise ValueError("this trace has no likelihood: the decoder was skipped")
        return sum_event_dims(self.px.log_prob(self.batch.x), self.batch.mask)

    @cached_property
    def distortion(self) -> Tensor:
        """-log p(x|z), ``[K, B]``."""
        return -self.log_likelihood

    @cached_property
    def rate(self) -> Tensor:
        """The sum of KL(q || p) over all latent variables, ``[K, B]``.

        Raises:
            NotImplementedError: a posterior has no density.
        """
        if not self.sites:  # a model without latent variables
            return torch.zeros_like(self.distortion)
        if len(self.sites) == 1:
            return self.sites[0].kl
        return torch.stack([site.kl for site in self.sites]).sum(0)

    @cached_property
    def mean_distortion(self) -> Tensor:
        """The distortion averaged over samples, ``[B]``."""
        return mean_over_samples(self.distortion)

    @cached_property
    def mean_rate(self) -> Tensor:
        """The rate averaged over samples, ``[B]``."""
        return mean_over_samples(self.rate)

    @cached_property
    def mean_elbo(self) -> Tensor:
        """The ELBO averaged over samples, ``[B]``.

        Raises:
            NotImplementedError: a posterior has no density.
        """
        return elbo(-self.mean_distortion, self.mean_rate)

    @cached_property
    def log_weight(self) -> Tensor:
        """The log importance weight log p(x|z) + log p(z) - log q(z|x) of each sample, ``[K, B]``.

        This is the ELBO of one sample, with ``log_ratio`` in place of the KL.

        Raises:
            NotImplementedError: a posterior has no density.
        """
        total = self.log_likelihood
        for site in self.sites:
            total = elbo(total, site.log_ratio)
        return total


Terms: TypeAlias = Mapping[str, Tensor]
"""Named quantities to log: each per example ``[B]``, or a scalar."""
