"""What is measured of models of sequences, for each step and for each sequence."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Annotated

import torch
from annotated_types import Ge, Gt
from torch import Tensor

import vaezoo
from vaezoo_vrae.chain import Chain
from vaezoo_vrae.particles import particle_filter
from vaezoo_vrae.recurrent import Recurrent
from vaezoo_vrae.steps import lengths

Count = Annotated[int, Gt(0)]


def per_step(totals: Tensor, steps: Tensor, unit: str = "nats per step", **details: float) -> vaezoo.Estimate:
    """The sum over all sequences divided by all their steps, with the standard error of that ratio.

    Args:
        totals: of each sequence, ``[n]``.
        steps: that each has, ``[n]``.
        unit: of the figure.
        details: further facts.
    """
    totals, steps = totals.double(), steps.double()
    value, n = float(totals.sum() / steps.sum()), len(totals)
    spread = (totals - value * steps).square().sum() * n / max(n - 1, 1)
    error = float(spread.sqrt() / steps.sum()) if n > 1 else None
    return vaezoo.Estimate(value, error, n, {"steps": float(steps.sum()), **details}, unit)


def _batches(model: vaezoo.Model, data: vaezoo.Loader, samples: int) -> Iterator[vaezoo.Batch]:
    if not model.data.is_sequence:
        raise NotImplementedError("defined for sequences only")
    return data.ordered(model.batch_size(samples))


class Steps(vaezoo.Metric):
    """ELBO, importance-weighted and particle bounds on log p(x), and the rate of each latent variable, for each step.

    The sum over all test steps divided by their number, which is how the literature states likelihoods of music. The
    importance-weighted bound (Burda et al. 2016) draws whole sequences of latents; the particle bound (FIVO, Maddison
    et al. 2017) resamples on the way, and is given for latents of the type ``chain``.

    Args:
        samples: K of the importance-weighted bound.
        particles: of the particle bound; 0 leaves it out.
    """

    def __init__(self, *, samples: Count = 1, particles: Annotated[int, Ge(0)] = 0) -> None:
        self.samples, self.particles = samples, particles

    def __call__(self, model: vaezoo.Model, data: vaezoo.Loader) -> Mapping[str, vaezoo.Estimate]:
        """``elbo_per_step``, ``iwae_per_step``, ``fivo_per_step``, ``rate_per_step``, ``rate_of_...`` each variable."""
        found: dict[str, list[Tensor]] = {}
        counts = []
        for batch in _batches(model, data, max(self.samples, self.particles)):
            counts.append(lengths(batch.mask, batch.x).cpu())
            for name, value in self._of(model, batch).items():
                found.setdefault(name, []).append(value.cpu())
        steps = torch.cat(counts)
        details = {"iwae_per_step": {"samples": self.samples}, "fivo_per_step": {"particles": self.particles}}
        return {name: per_step(torch.cat(values), steps, **details.get(name, {})) for name, values in found.items()}

    def _of(self, model: vaezoo.Model, batch: vaezoo.Batch) -> dict[str, Tensor]:
        trace = model(batch, self.samples)
        values = {"elbo_per_step": -(trace.mean_distortion + trace.mean_rate)}
        if self.samples > 1:
            values["iwae_per_step"] = trace.log_weight.logsumexp(0) - math.log(self.samples)
        if self.particles and isinstance(model.latents, Chain):
            values["fivo_per_step"] = particle_filter(model, batch, self.particles)
        values["rate_per_step"] = trace.mean_rate
        level = 0
        for site in trace.sites:
            level += site.mask is not None
            name = "rate_of_sequence_latent" if site.mask is None else f"rate_of_level_{level}"
            values[name] = site.kl.mean(0)
        return values


class NextStep(vaezoo.Metric):
    """How well each step is foreseen from those before it, by a bootstrap particle filter that sees no future.

    The prediction is the mean of p(x_t|z) over particles weighted by the past. Numbers: the root of the mean squared
    error. Binary steps: the mean squared error (Brier). Symbols: the share not foreseen. For latents ``recurrent``
    particles are draws of p(z), or one where there is no z.

    Args:
        particles: K.
    """

    def __init__(self, *, particles: Count = 128) -> None:
        self.particles = particles

    def __call__(self, model: vaezoo.Model, data: vaezoo.Loader) -> Mapping[str, vaezoo.Estimate]:
        """``next_step_rmse``, ``next_step_brier`` or ``next_step_error``."""
        wrong, counts, width = [], [], model.data.shape[1]
        for batch in _batches(model, data, self.particles):
            seen = torch.ones_like(batch.x[..., 0], dtype=torch.bool) if batch.mask is None else batch.mask
            wrong.append((_surprise(self._foreseen(model, batch), batch.x, model.data.support) * seen).sum(1).cpu())
            counts.append(seen.sum(1).cpu())
        one_hot, real = model.data.support == "one-hot", model.data.support == "real"
        steps = torch.cat(counts)
        found = per_step(torch.cat(wrong), steps * (1 if one_hot else width), "", particles=self.particles)
        found = dataclasses.replace(found, details=found.details | {"steps": float(steps.sum())})
        if real:
            root = math.sqrt(found.value)
            error = None if found.error is None or not root else found.error / (2 * root)
            return {"next_step_rmse": dataclasses.replace(found, value=root, error=error)}
        return {"next_step_error" if one_hot else "next_step_brier": found}

    def _foreseen(self, model: vaezoo.Model, batch: vaezoo.Batch) -> Tensor:
        """The expected data of each step given those before, ``[B, T, D]``."""
        if isinstance(model.latents, Recurrent):
            return foreseen(model, batch, self.particles)
        means: list[Tensor] = []

        def look(t: int, px: torch.distributions.Distribution, weights: Tensor) -> None:
            means.append((px.mean * weights[..., None, None]).sum(0))

        particle_filter(model, batch, self.particles, bootstrap=True, on_step=look)
        return torch.cat(means, 1)


def foreseen(model: vaezoo.Model, batch: vaezoo.Batch, particles: int) -> Tensor:
    """The same for latents ``recurrent``: draws of p(z), weighted by how well they explain the steps so far."""
    context = model.context(batch.condition, len(batch))
    features, above = model.features(batch, context), model.prior_context(context)
    latents = model.latents
    assert isinstance(latents, Recurrent)
    k = particles if latents.sequence_latent.prior is not None else 1
    top = torch.stack([latents.sequence_latent.generate(len(batch), above, batch.x.device) for _ in range(k)])
    px = model.likelihood_of(latents.codes(features[0].float(), top), context)
    told = px.log_prob(batch.x)  # [K, B, T]
    if batch.mask is not None:
        told = torch.where(batch.mask, told, torch.zeros_like(told))
    before = told.cumsum(-1) - told
    return (px.mean * before.softmax(0)[..., None]).sum(0)


def _surprise(foreseen: Tensor, x: Tensor, support: str) -> Tensor:
    """What a prediction misses at each step, ``[B, T]``."""
    if support == "one-hot":
        return (foreseen.argmax(-1) != x.argmax(-1)).float()
    return (foreseen - x).square().sum(-1)


class ReconstructionAccuracy(vaezoo.Metric):
    """The share of symbols that come back right when z alone tells them: decoded greedily, hearing what was decoded.

    For text and other one-hot sequences with one latent vector; steps after the end of a sequence are not counted.
    """

    def __call__(self, model: vaezoo.Model, data: vaezoo.Loader) -> Mapping[str, vaezoo.Estimate]:
        """``reconstruction_accuracy``."""
        if model.data.support != "one-hot":
            raise NotImplementedError("defined for sequences of symbols only")
        right, counts = [], []
        for batch in _batches(model, data, 1):
            z = model.posterior_mean(batch)
            said = model.decode(z, batch.condition, steps=batch.x.shape[1]).argmax(-1)
            seen = torch.ones_like(said, dtype=torch.bool) if batch.mask is None else batch.mask
            right.append(((said == batch.x.argmax(-1)) & seen).sum(1).cpu())
            counts.append(seen.sum(1).cpu())
        return {"reconstruction_accuracy": per_step(torch.cat(right), torch.cat(counts), "")}
