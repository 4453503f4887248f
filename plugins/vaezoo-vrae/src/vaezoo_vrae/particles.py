"""Particle filters over a chain: the bound of Maddison et al. 2017 (FIVO), and honest predictions of the next step.

Shapes: K particles, B sequences, N = K · B, T steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

import vaezoo
from vaezoo_vrae.chain import Chain, State
from vaezoo_vrae.steps import lengths, padding_mask

OnStep = Callable[[int, torch.distributions.Distribution, Tensor], None]
"""Told of each step, p(x_t|z) of its particles ``[K, B, 1]`` and their weights before x_t, normalised, ``[K, B]``."""


@dataclass
class Particles:
    """The particles' weights since they were last resampled, and the evidence up to then."""

    log_weight: Tensor
    log_evidence: Tensor

    def resample(self, ess_threshold: float, alive: Tensor) -> Tensor | None:
        """The particles to keep ``[K, B]``, where a sequence has too few effective ones; None where none has."""
        k = len(self.log_weight)
        size = (2 * self.log_weight.logsumexp(0) - (2 * self.log_weight).logsumexp(0)).exp()
        poor = (size < ess_threshold * k) & alive
        if not bool(poor.any()):
            return None
        drawn = torch.distributions.Categorical(logits=self.log_weight.T).sample(torch.Size((k,)))
        same = torch.arange(k, device=drawn.device)[:, None]
        self.log_evidence = torch.where(poor, self.log_evidence + self._mean(), self.log_evidence)
        self.log_weight = torch.where(poor, torch.zeros_like(self.log_weight), self.log_weight)
        return torch.where(poor, drawn, same)

    def _mean(self) -> Tensor:
        return self.log_weight.logsumexp(0) - math.log(len(self.log_weight))

    def total(self) -> Tensor:
        """The estimate of log p(x), ``[B]``."""
        return self.log_evidence + self._mean()


def _begun(
    chain: Chain, features: tuple[Tensor, ...], context: Tensor | None, k: int, bootstrap: bool
) -> tuple[Particles, Tensor]:
    """The particles before the first step, and the z above all steps of each, ``[K, B, W]``."""
    n = len(features[0])
    if bootstrap and chain.sequence_latent.prior is not None:
        top = torch.stack([chain.sequence_latent.generate(n, context, features[0].device) for _ in range(k)])
        start = top.new_zeros(k, n)
    else:
        sites, top = chain.sequence_latent.infer(features, context, k)
        start = sum((-site.log_ratio for site in sites), top.new_zeros(k, n))
    return Particles(start, start.new_zeros(n)), top


def _proposed(chain: Chain, state: State, seen: list[Tensor] | None, k: int) -> tuple[list[Tensor], Tensor]:
    """The code of a step in parts, and log p - log q of what was drawn for it, ``[K, B]``.

    Args:
        chain, state: where it stands.
        seen: what each level's posterior makes of the step's data; None proposes by the prior.
        k: K.
    """
    ratio = state.top.new_zeros(k, len(state.top) // k)

    def choose(i: int, known: Tensor) -> Tensor:
        nonlocal ratio
        p = chain.levels[i].prior(known)
        if seen is None:
            return p.sample()
        q = chain.levels[i].posterior(known, seen[i])
        z = q.sample()
        ratio = ratio + (p.log_prob(z) - q.log_prob(z)).unflatten(0, (k, -1))
        return z

    return chain.step_latents(state, choose), ratio


def particle_filter(
    model: vaezoo.Model,
    batch: vaezoo.Batch,
    particles: int,
    *,
    bootstrap: bool = False,
    ess_threshold: float = 0.5,
    on_step: OnStep | None = None,
) -> Tensor:
    """log p(x) of each sequence in nats by sequential importance sampling with resampling, ``[B]``.

    Its exponential is unbiased, so it is a lower bound in expectation (Maddison et al. 2017, eq. 7). Particles are
    proposed by the posterior, and resampled where their effective number falls below ``ess_threshold`` of them.

    Args:
        model: with latents ``chain``, in evaluation mode.
        batch: sequences.
        particles: K.
        bootstrap: propose by the prior instead, which knows nothing of the future.
        ess_threshold: a share of K; 0 never resamples, which is importance sampling.
        on_step: told of each step before its data are seen.

    Raises:
        NotImplementedError: the latents are no chain.
    """
    chain = model.latents
    if not isinstance(chain, Chain):
        raise NotImplementedError("a particle filter is for latents of the type chain")
    context = model.context(batch.condition, len(batch))
    features = model.features(batch, context)
    k, above = particles, model.prior_context(context)
    exists = padding_mask(lengths(batch.mask, batch.x), batch.x.shape[1])
    swarm, top = _begun(chain, features, above, k, bootstrap)
    state = chain.begin(top.flatten(0, 1))
    heard, seen = chain.pooled_inputs(features[0].float(), k), chain.posterior_inputs(features, k)
    for t in range(len(heard)):
        parts, ratio = _proposed(chain, state, None if bootstrap else [level[t] for level in seen], k)
        code = torch.cat(chain.with_skip(parts, state), -1)
        px = model.likelihood_of(code.unflatten(0, (k, -1))[:, :, None], context)
        if on_step is not None:
            on_step(t, px, swarm.log_weight.softmax(0))
        told = px.log_prob(batch.x[:, t : t + 1]).squeeze(-1)
        if batch.mask is not None:
            told = torch.where(batch.mask[:, t], told, torch.zeros_like(told))
        swarm.log_weight = swarm.log_weight + torch.where(exists[:, t], told + ratio, torch.zeros_like(told))
        chain.update_states(state, heard[t])
        state.previous_features = features[0][:, t].float().repeat(k, 1)
        if ess_threshold and (kept := swarm.resample(ess_threshold, exists[:, t])) is not None:
            state.select((kept * len(batch) + torch.arange(len(batch), device=kept.device)).flatten())
    return swarm.total()
