"""What flows through one training step: a batch, the latent variables drawn, the likelihood.

Shapes: K samples of the posterior, B examples, D latent dimensions. All quantities are in nats.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import torch
from torch import Tensor
from torch.distributions import Distribution, kl_divergence

from vaezoo.data.batch import Batch
from vaezoo.distributions import Implicit


def sum_event_dims(value: Tensor, mask: Tensor | None) -> Tensor:
    """Sums per-element log-probabilities ``[K, B, *rest]`` to ``[K, B]``, leaving out what the mask hides.

    Args:
        value: ``[K, B]``, or ``[K, B, *rest]`` where each element is covered by one entry of the mask.
        mask: ``[B, *rest]``, True where observed.

    Raises:
        ValueError: the mask's shape does not match ``value``.
    """
    if mask is not None:
        if mask.shape != value.shape[1:]:
            raise ValueError(f"mask {tuple(mask.shape)} does not cover log-probabilities {tuple(value.shape)}")
        value = torch.where(mask, value, torch.zeros((), dtype=value.dtype, device=value.device))
    return value.flatten(2).sum(-1) if value.dim() > 2 else value


def mean_over_samples(value: Tensor) -> Tensor:
    """The mean over samples, from ``[K, B]`` to ``[B]``."""
    return value.squeeze(0) if value.shape[0] == 1 else value.mean(0)


@dataclass(frozen=True)
class Site:
    """One latent variable as one pass saw it.

    Attributes:
        z: samples of the posterior, ``[K, B, *event]`` (or ``[K, B, T, *event]`` with a mask).
        q: posterior q(z|x), which broadcasts to ``[K, B]``.
        p: prior p(z) or p(z|context), likewise.
        mask: True where the variable exists, ``[B, T]``; None means everywhere.
        stride: of how many steps of the data each of the T is.
    """

    z: Tensor
    q: Distribution
    p: Distribution
    mask: Tensor | None = None
    stride: int = 1

    @property
    def has_density(self) -> bool:
        """Whether q has a density, without which neither KL nor ``log_ratio`` is defined."""
        return not isinstance(self.q, Implicit)

    def prior_sample(self) -> Tensor:
        """A fresh draw from the prior with the shape of ``z``, whatever batch shape the prior has."""
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
        """KL(q || p), ``[K, B]``: in closed form where torch knows one, else ``log_ratio``."""
        try:
            kl = kl_divergence(self.q, self.p)
        except NotImplementedError:
            return self.log_ratio
        shape = self.z.shape[: self.z.dim() - len(self.q.event_shape)]
        return sum_event_dims(kl.expand(shape), self.mask)


@dataclass(frozen=True)
class Trace:
    """Everything that one pass through a model drew.

    Attributes:
        batch: the examples.
        sites: the latent variables, in the order of generation.
        px: likelihood p(x|z), which broadcasts to ``[K, B]``; None where the decoder was skipped.
        context: what the conditioner made of the condition, ``[B, ...]``; None in an unconditional model.
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
        """The sum over sites of KL(q || p), ``[K, B]``.

        Raises:
            NotImplementedError: a posterior has no density.
        """
        if not self.sites:  # a model without latent variables
            return torch.zeros_like(self.distortion)
        return torch.stack([site.kl for site in self.sites]).sum(0) if len(self.sites) > 1 else self.sites[0].kl

    @cached_property
    def mean_distortion(self) -> Tensor:
        """The distortion averaged over samples, ``[B]``."""
        return mean_over_samples(self.distortion)

    @cached_property
    def mean_rate(self) -> Tensor:
        """The rate averaged over samples, ``[B]``."""
        return mean_over_samples(self.rate)

    @cached_property
    def log_weight(self) -> Tensor:
        """log p(x|z) + log p(z) - log q(z|x), ``[K, B]``: the log importance weight of each sample."""
        total = self.log_likelihood
        for site in self.sites:
            total = total - site.log_ratio
        return total


Terms: TypeAlias = Mapping[str, Tensor]
"""Named quantities to log: each per example ``[B]``, or a scalar."""
