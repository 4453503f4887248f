"""Particle filters over a chain: the FIVO bound (Maddison et al. 2017), next-step predictions.

Shapes: K particles, B sequences, N = K * B, T steps, W dimensions of the sequence code, C
dimensions of a step's code, G hidden features of a posterior network.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

import vaezoo
from vaezoo_vrae.chain import Chain
from vaezoo_vrae.chain_state import ChainState
from vaezoo_vrae.steps import padding_mask, select_steps, sequence_lengths

StepCallback: TypeAlias = Callable[[int, torch.distributions.Distribution, Tensor], None]
"""Called with t, p(x_t|z) of all particles ``[K, B, 1]``, and their weights before x_t ``[K, B]``.

The weights are normalized over particles.
"""


@dataclass
class Particles:
    """The weights of particles.

    Attributes:
        log_weights: log weights accumulated since the last resampling, ``[K, B]``.
        log_evidence: the estimate of log p(x) up to the last resampling, ``[B]``.
    """

    log_weights: Tensor
    log_evidence: Tensor

    def resample(self, ess_threshold: float, exists: Tensor) -> Tensor | None:
        """Resamples the sequences with too low an effective sample size.

        Args:
            ess_threshold: resample below this fraction of K.
            exists: True for sequences that have this step, ``[B]``.

        Returns:
            For each particle the index of its ancestor, ``[K, B]``; None if no sequence is
            resampled.
        """
        k = len(self.log_weights)
        ess = (2 * self.log_weights.logsumexp(0) - (2 * self.log_weights).logsumexp(0)).exp()
        resampled = (ess < ess_threshold * k) & exists  # [B]
        if not bool(resampled.any()):
            return None
        categorical = torch.distributions.Categorical(logits=self.log_weights.T)  # logits [B, K]
        ancestors = categorical.sample(torch.Size((k,)))  # [K, B]
        unchanged = torch.arange(k, device=ancestors.device)[:, None]  # [K, 1]
        self.log_evidence = torch.where(
            resampled, self.log_evidence + self._log_mean_weight(), self.log_evidence
        )
        self.log_weights = torch.where(
            resampled, torch.zeros_like(self.log_weights), self.log_weights
        )
        return torch.where(resampled, ancestors, unchanged)

    def _log_mean_weight(self) -> Tensor:
        return self.log_weights.logsumexp(0) - math.log(len(self.log_weights))

    def total_log_evidence(self) -> Tensor:
        """The estimate of log p(x) including the current weights, ``[B]``."""
        return self.log_evidence + self._log_mean_weight()


def _initial_particles(
    model: vaezoo.Model, chain: Chain, inference: vaezoo.Inference, *, bootstrap: bool
) -> tuple[Particles, Tensor]:
    """The particles before the first step, and their sequence codes ``[K, B, W]``."""
    n, k = len(inference.batch), inference.k
    if bootstrap and chain.sequence_latent.prior is not None:
        generation = model.start_generation(n, inference.context)
        samples = [chain.sequence_latent.generate(generation) for _ in range(k)]
        codes = torch.stack(samples)  # [K, B, W]
        log_weights = codes.new_zeros(k, n)
    else:
        sites, codes = chain.sequence_latent.infer(inference)
        log_weights = sum((-site.log_ratio for site in sites), codes.new_zeros(k, n))
    return Particles(log_weights, log_weights.new_zeros(n)), codes


def _propose_step(
    chain: Chain, state: ChainState, posterior_inputs: list[Tensor] | None, k: int
) -> tuple[list[Tensor], Tensor]:
    """Draws the latents of a step.

    Args:
        chain: the latents.
        state: of the particles; changed in place.
        posterior_inputs: for each level, ``q_data`` of the step's data, ``[N, G]``; None proposes
            from the prior.
        k: K, the number of particles.

    Returns:
        The parts of the step's code, and log p(z) - log q(z) of the drawn z, ``[K, B]``.
    """
    log_ratio = state.sequence_code.new_zeros(k, len(state.sequence_code) // k)

    def sample_latent(i: int, state_and_parents: Tensor) -> Tensor:
        nonlocal log_ratio
        p = chain.levels[i].prior(state_and_parents)
        if posterior_inputs is None:
            return p.sample()
        q = chain.levels[i].posterior(state_and_parents, posterior_inputs[i])
        z = q.sample()
        log_ratio = log_ratio + (p.log_prob(z) - q.log_prob(z)).unflatten(0, (k, -1))  # [K, B]
        return z

    return chain.step_latents(state, sample_latent), log_ratio


def particle_filter(
    model: vaezoo.Model,
    batch: vaezoo.Batch,
    num_particles: int,
    *,
    bootstrap: bool = False,
    ess_threshold: float = 0.5,
    on_step: StepCallback | None = None,
) -> Tensor:
    """Estimates log p(x) of each sequence in nats, ``[B]``.

    The method is sequential importance sampling with resampling. The exponential of the estimate
    is unbiased, so the estimate is a lower bound in expectation (Maddison et al. 2017, eq. 7).
    Particles are proposed from the posterior.

    Args:
        model: a model with latents ``chain``, in evaluation mode.
        batch: sequences.
        num_particles: K, the number of particles.
        bootstrap: propose from the prior instead, which does not depend on future steps.
        ess_threshold: resample where the effective sample size is below this fraction of K; 0
            never resamples, which is importance sampling.
        on_step: called at each step, before the particles are weighted by its data.

    Raises:
        NotImplementedError: the latents are not a chain, or only a bound is known of a density.
    """
    chain = model.latents
    if not isinstance(chain, Chain):
        raise NotImplementedError("the particle filter needs latents of type 'chain'")
    if model.density != "exact":
        raise NotImplementedError("the particle filter needs exact densities of all priors")
    k = num_particles
    inference = model.start_inference(batch, k)
    features, context = inference.features, inference.context
    exists = padding_mask(sequence_lengths(batch.mask, batch.x), batch.x.shape[1])  # [B, T]
    particles, codes = _initial_particles(model, chain, inference, bootstrap=bootstrap)
    state = chain.initial_state(codes.flatten(0, 1))  # flattened to [N, W]
    step_inputs = chain.pooled_inputs(features[0].float(), k)
    posterior_inputs = chain.posterior_inputs(features, k)
    for t in range(len(step_inputs)):
        parts, log_ratio = _propose_step(
            chain, state, None if bootstrap else [level[t] for level in posterior_inputs], k
        )
        code = torch.cat(chain.add_skip_features(parts, state), -1)  # [N, C]
        code = code.unflatten(0, (k, -1))[:, :, None]  # [K, B, 1, C]
        px = model.likelihood_of(code, context, batch.extras)
        if on_step is not None:
            on_step(t, px, particles.log_weights.softmax(0))
        step = select_steps(batch, slice(t, t + 1))
        log_px = model.likelihood.log_prob(vaezoo.Trace(model, step, (), code, px, context))
        zero = torch.zeros_like(log_px)  # [K, B]
        particles.log_weights = particles.log_weights + torch.where(
            exists[:, t], log_px + log_ratio, zero
        )
        chain.update_states(state, step_inputs[t])
        state.previous_features = features[0][:, t].float().repeat(k, 1)  # [N, F]
        ancestors = particles.resample(ess_threshold, exists[:, t]) if ess_threshold else None
        if ancestors is not None:
            columns = torch.arange(len(batch), device=ancestors.device)
            state.select((ancestors * len(batch) + columns).flatten())  # indices [N]
    return particles.total_log_evidence()
