"""The results of one forward pass: the batch, the sampled latent variables and the likelihood.

Shapes: K samples of the posterior, B examples, T steps of a sequence, D latent dimensions. All
quantities are in nats.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import TypeAlias, TypeVar

import torch
from torch import Tensor
from torch.distributions import Distribution, kl_divergence

from vaezoo.data.batch import Batch
from vaezoo.distributions import DENSITIES, Density, density_of, mode
from vaezoo.model.protocol import GenerativeModel
from vaezoo.utils.memo import memoised

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


def mean_over_samples(value: Tensor, weights: Tensor | None = None) -> Tensor:
    """The mean over samples, from ``[K, B, ...]`` to ``[B, ...]``.

    Args:
        value: one number, or more, for each sample and example.
        weights: the weights of the samples, ``[K, B]``; None for equal ones.
    """
    if weights is not None:
        aligned = weights.reshape(*weights.shape, *(1,) * (value.dim() - 2))  # [K, B, 1, ...]
        return (aligned * value).sum(0)
    return value.squeeze(0) if value.shape[0] == 1 else value.mean(0)


@dataclass(frozen=True)
class Site:
    """One latent variable in one forward pass.

    Attributes:
        name: the name of its ``Space``.
        z: samples of the posterior, ``[K, B, *event]``, or ``[K, B, T, *event]`` with a mask.
        q: the posterior q(z|x); its batch shape broadcasts to ``[K, B]`` (``[K, B, T]``).
        p: the prior p(z) or p(z|context); its batch shape broadcasts likewise.
        log_q: log q(z|x) of each sample, ``[K, B]``, where ``q`` is not the distribution of ``z``
            and only the pass knows it, as after a flow; None means ``q.log_prob(z)``.
        mask: True where the variable exists, ``[B, T]``; None means everywhere.
        stride: the number of data steps that one latent step covers.
    """

    name: str
    z: Tensor
    q: Distribution
    p: Distribution
    _: KW_ONLY
    log_q: Tensor | None = None
    mask: Tensor | None = None
    stride: int = 1

    @property
    def density(self) -> Density:
        """What is known of log q - log p: ``exact``, an upper ``bound``, or ``none``.

        A lower bound of log q is of no use: with it the ELBO would be no lower bound.
        """
        if self.log_q is None and density_of(self.q) != "exact":
            return "none"
        return density_of(self.p)

    @property
    def has_density(self) -> bool:
        """Whether q and p have densities. Without, neither KL nor ``log_ratio`` is defined."""
        return self.density != "none"

    @property
    def mean(self) -> Tensor:
        """The posterior mean with the shape of ``z``; ``z`` itself where the mean is not known.

        Symbols have no mean; it is the most probable symbol.
        """
        if self.log_q is not None:
            return self.z
        if not self.z.is_floating_point():
            return mode(self.q).expand(self.z.shape)  # [K, B, *event]
        try:
            return self.q.mean.expand(self.z.shape)  # [K, B, *event]
        except NotImplementedError:
            return self.z

    def prior_sample(self) -> Tensor:
        """A new sample of the prior with the shape of ``z``, for any batch shape of the prior."""
        missing = self.z.dim() - len(self.p.batch_shape) - len(self.p.event_shape)
        return self.p.sample(self.z.shape[:missing])

    @memoised
    def log_ratio(self) -> Tensor:
        """log q(z|x) - log p(z) at the samples, ``[K, B]``: an unbiased estimate of the KL.

        Raises:
            NotImplementedError: q or p has no density.
        """
        if self.log_q is not None:
            return self.log_q - sum_event_dims(self.p.log_prob(self.z), self.mask)
        return sum_event_dims(self.q.log_prob(self.z) - self.p.log_prob(self.z), self.mask)

    @memoised
    def kl(self) -> Tensor:
        """KL(q || p), ``[K, B]``: in closed form where torch has one, otherwise ``log_ratio``.

        With a prior whose density is a lower bound, it is an upper bound.
        """
        if self.log_q is not None:
            return self.log_ratio
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
        model: the model that made it.
        batch: the examples.
        sites: the latent variables, in the order of generation.
        code: the decoder's input, ``[K, B, ...]``.
        px: the likelihood p(x|z), which broadcasts to ``[K, B]``; None if the decoder was skipped.
        context: the conditioner's output ``[B, ...]``; None in an unconditional model.
        weights: the weights of the K samples, ``[K, B]``, which sum to 1 over K, if these
            enumerate a variable instead of sampling it; None for equal weights. Every mean over
            samples uses them.
    """

    model: GenerativeModel
    batch: Batch
    sites: tuple[Site, ...]
    code: Tensor
    px: Distribution | None
    context: Tensor | None = None
    weights: Tensor | None = None

    def site(self, name: str) -> Site:
        """The latent variable of a name.

        Raises:
            ValueError: the model has no such latent variable.
        """
        for site in self.sites:
            if site.name == name:
                return site
        names = ", ".join(site.name for site in self.sites)
        raise ValueError(f"no latent variable named {name!r}; the model has {names}")

    @property
    def density(self) -> Density:
        """The weakest density of the latent variables: ``exact``, ``bound`` or ``none``."""
        return min((site.density for site in self.sites), key=DENSITIES.index, default="exact")

    @property
    def has_rate(self) -> bool:
        """Whether the rate is defined: every posterior and every prior has a density."""
        return all(site.density != "none" for site in self.sites)

    def mean(self, value: Tensor) -> Tensor:
        """The mean over samples, ``[K, B, ...]`` to ``[B, ...]``, weighted by ``weights``."""
        return mean_over_samples(value, self.weights)

    @memoised
    def log_likelihood(self) -> Tensor:
        """log p(x|z), ``[K, B]``.

        Raises:
            ValueError: the decoder was skipped in this pass.
        """
        if self.px is None:
            raise ValueError("this trace has no likelihood: the decoder was skipped")
        log_likelihood: Tensor = self.model.likelihood.log_prob(self)
        return log_likelihood

    @memoised
    def distortion(self) -> Tensor:
        """-log p(x|z), ``[K, B]``."""
        return -self.log_likelihood

    @memoised
    def rate(self) -> Tensor:
        """The sum of KL(q || p) over all latent variables, ``[K, B]``.

        Raises:
            NotImplementedError: a posterior or a prior has no density.
        """
        if not self.sites:  # a model without latent variables
            return torch.zeros_like(self.distortion)
        if len(self.sites) == 1:
            return self.sites[0].kl
        return torch.stack([site.kl for site in self.sites]).sum(0)

    @memoised
    def mean_distortion(self) -> Tensor:
        """The distortion averaged over samples, ``[B]``."""
        return mean_over_samples(self.distortion, self.weights)

    @memoised
    def mean_rate(self) -> Tensor:
        """The rate averaged over samples, ``[B]``."""
        return mean_over_samples(self.rate, self.weights)

    @memoised
    def mean_elbo(self) -> Tensor:
        """The ELBO averaged over samples, ``[B]``.

        Raises:
            NotImplementedError: a posterior or a prior has no density.
        """
        return elbo(-self.mean_distortion, self.mean_rate)

    @memoised
    def log_weight(self) -> Tensor:
        """The log importance weight log p(x|z) + log p(z) - log q(z|x) of each sample, ``[K, B]``.

        This is the ELBO of one sample, with ``log_ratio`` in place of the KL.

        Raises:
            NotImplementedError: a density is missing or only a bound, or the samples enumerate a
                variable: they are then no importance samples.
        """
        self.require_importance_weights()
        total = self.log_likelihood
        for site in self.sites:
            total = elbo(total, site.log_ratio)
        return total

    def require_importance_weights(self) -> None:
        """Raises NotImplementedError where importance weights are not defined."""
        if self.weights is not None:
            raise NotImplementedError("enumerated samples have no importance weights")
        for site in self.sites:
            if site.density == "bound":
                raise NotImplementedError(
                    f"the density of latent variable {site.name!r} is only a bound, so importance "
                    "weights are not defined; use elbo"
                )


Terms: TypeAlias = Mapping[str, Tensor]
"""Named quantities to log: each per example ``[B]``, or a scalar."""
