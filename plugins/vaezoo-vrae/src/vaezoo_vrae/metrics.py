"""Metrics of sequence models, per step and per sequence.

Shapes: K samples or particles, B examples, n sequences of a split, T steps, D values per step.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor

import vaezoo
from vaezoo.nn import masked
from vaezoo_vrae.chain import Chain
from vaezoo_vrae.particles import particle_filter
from vaezoo_vrae.recurrent import Recurrent
from vaezoo_vrae.steps import PositiveInt, sequence_lengths

_BOUNDS = {
    "elbo_per_step": "lower bound of log p(x)",
    "iwae_per_step": "stochastic lower bound of log p(x)",
    "fivo_per_step": "stochastic lower bound of log p(x)",
}
"""What the numbers of ``step-bounds`` bound, where the model has latent variables."""


def per_step(
    totals: Tensor, steps: Tensor, unit: str = "nats per step", **details: float
) -> vaezoo.Estimate:
    """The sum over sequences divided by their number of steps, with the ratio's standard error.

    If a total is NaN or infinite, so is the result, and the note names the first such sequence.

    Args:
        totals: the total of each sequence, ``[n]``.
        steps: the number of steps of each sequence, ``[n]``.
        unit: unit of the result.
        details: additional details of the result.
    """
    totals, steps = totals.double(), steps.double()
    value, n = float(totals.sum() / steps.sum()), len(totals)
    residuals = totals - value * steps
    variance = residuals.square().sum() * n / max(n - 1, 1)
    error = float(variance.sqrt() / steps.sum()) if n > 1 else None
    details = {"steps": float(steps.sum()), **details}
    note = vaezoo.first_fault(totals, "the total of example")
    linear = value + residuals / steps.mean()  # its mean is the value, its error that of the ratio
    return vaezoo.Estimate(value, error, n, details, unit=unit, note=note, per_example=linear)


def _batches(model: vaezoo.Model, data: vaezoo.Loader, samples: int) -> Iterator[vaezoo.Batch]:
    if not model.data.is_sequence:
        raise NotImplementedError("defined for sequences only")
    return data.ordered(model.batch_size(samples))


class StepBounds(vaezoo.Metric):
    """Bounds on log p(x) and the rate of each latent variable, per step.

    The bounds are the ELBO, the importance-weighted and the particle bound. The result is the sum
    over all test steps divided by their number, as the literature reports likelihoods of music.
    The importance-weighted bound (Burda et al. 2016) samples latents of full sequences; the
    particle bound (FIVO, Maddison et al. 2017) resamples between steps, and is reported for
    latents of type ``chain``.

    Args:
        samples: K of the importance-weighted bound.
        particles: K of the particle bound; 0 omits it.
    """

    higher_is_better = frozenset({"elbo_per_step", "iwae_per_step", "fivo_per_step"})

    def __init__(self, *, samples: PositiveInt = 1, particles: Annotated[int, Ge(0)] = 0) -> None:
        self.samples, self.particles = samples, particles

    def __call__(self, model: vaezoo.Model, data: vaezoo.Loader) -> Mapping[str, vaezoo.Estimate]:
        """``elbo_``, ``iwae_``, ``fivo_``, ``rate_per_step``; ``rate_of_...`` per variable."""
        totals: dict[str, list[Tensor]] = {}
        lengths = []
        for batch in _batches(model, data, max(self.samples, self.particles)):
            lengths.append(sequence_lengths(batch.mask, batch.x).cpu())
            for name, value in self._bounds(model, batch).items():
                totals.setdefault(name, []).append(value.cpu())
        steps = torch.cat(lengths)
        details = {
            "iwae_per_step": {"samples": self.samples},
            "fivo_per_step": {"particles": self.particles},
        }
        return {
            name: dataclasses.replace(
                per_step(torch.cat(values), steps, **details.get(name, {})),
                bound=_BOUNDS.get(name, "") if model.spaces else "",  # else log p(x) itself
            )
            for name, values in totals.items()
        }

    def _bounds(self, model: vaezoo.Model, batch: vaezoo.Batch) -> dict[str, Tensor]:
        """Bounds and rates of each sequence, in nats, ``[B]`` each."""
        trace = model(batch, self.samples)
        values = {"elbo_per_step": trace.mean_elbo}
        if self.samples > 1:
            values["iwae_per_step"] = trace.log_weight.logsumexp(0) - math.log(self.samples)
        if self.particles and isinstance(model.latents, Chain):
            values["fivo_per_step"] = particle_filter(model, batch, self.particles)
        values["rate_per_step"] = trace.mean_rate
        level = 0
        for site in trace.sites:
            level += site.mask is not None
            name = "rate_of_sequence_latent" if site.mask is None else f"rate_of_level_{level}"
            values[name] = trace.mean(site.kl)
        return values


class NextStep(vaezoo.Metric):
    """The error of predicting each step from the previous ones, with a bootstrap particle filter.

    The prediction is the mean of p(x_t|z) over particles weighted by the past. For real data the
    error is the root mean squared error, for binary steps the mean squared error (Brier), for
    symbols the fraction of wrong predictions. With latents ``recurrent`` the particles are draws
    from p(z), or a single one if there is no z.

    Args:
        particles: K, the number of particles.
    """

    lower_is_better = frozenset({"next_step_rmse", "next_step_brier", "next_step_error"})

    def __init__(self, *, particles: PositiveInt = 128) -> None:
        self.particles = particles

    def __call__(self, model: vaezoo.Model, data: vaezoo.Loader) -> Mapping[str, vaezoo.Estimate]:
        """``next_step_rmse``, ``next_step_brier`` or ``next_step_error``."""
        errors, counts, values, sums = [], [], [], []
        for batch in _batches(model, data, self.particles):
            shown = torch.ones_like(batch.x, dtype=torch.bool)
            shown = shown if batch.mask is None else masked(shown, batch.mask)  # [B, T, D]
            prediction = self._predict(model, batch)
            error = _prediction_error(prediction, batch.x, shown, model.data.support)
            steps = shown.any(-1)  # [B, T]
            errors.append(masked(error, steps).sum(1).cpu())
            counts.append(steps.sum(1).cpu())
            values.append(shown.sum((1, 2)).cpu())
            sums.append(masked(prediction, steps).sum((1, 2)))
        # the most probable symbol of NaN is a symbol
        vaezoo.require_finite(torch.cat(sums), "the prediction for example")
        is_one_hot, is_real = model.data.support == "one-hot", model.data.support == "real"
        total = torch.cat(counts)
        divisor = total if is_one_hot else torch.cat(values)
        estimate = per_step(torch.cat(errors), divisor, "", particles=self.particles)
        estimate = dataclasses.replace(
            estimate, details=estimate.details | {"steps": float(total.sum())}
        )
        if is_real:
            root = math.sqrt(estimate.value)
            root_error = (
                None if estimate.error is None or not root else estimate.error / (2 * root)
            )
            return {"next_step_rmse": dataclasses.replace(estimate, value=root, error=root_error)}
        return {"next_step_error" if is_one_hot else "next_step_brier": estimate}

    def _predict(self, model: vaezoo.Model, batch: vaezoo.Batch) -> Tensor:
        """The expected data of each step given the previous steps, ``[B, T, D]``."""
        if isinstance(model.latents, Recurrent):
            return predict_recurrent(model, batch, self.particles)
        means: list[Tensor] = []

        def record_prediction(
            t: int, px: torch.distributions.Distribution, weights: Tensor
        ) -> None:
            means.append((px.mean * weights[..., None, None]).sum(0))  # [B, 1, D]

        particle_filter(model, batch, self.particles, bootstrap=True, on_step=record_prediction)
        return torch.cat(means, 1)


def predict_recurrent(model: vaezoo.Model, batch: vaezoo.Batch, num_samples: int) -> Tensor:
    """The expected data of each step given the previous steps, ``[B, T, D]``.

    For latents ``recurrent``. Draws from p(z) are weighted by the likelihood of the previous
    steps.
    """
    inference, latents = model.start_inference(batch), model.latents
    features, context = inference.features, inference.context
    assert isinstance(latents, Recurrent)
    k = num_samples if latents.sequence_latent.prior is not None else 1
    generation = model.start_generation(len(batch), context)
    sequence_codes = torch.stack(  # [K, B, W]
        [latents.sequence_latent.generate(generation) for _ in range(k)]
    )
    code = latents.codes(features[0].float(), sequence_codes)  # [K, B, T, C]
    px = model.likelihood_of(code, context, batch.extras)
    log_px = _log_prob_of_steps(model, batch, code, context)  # [K, B, T]
    log_px_of_past = log_px.cumsum(-1) - log_px
    return (px.mean * log_px_of_past.softmax(0)[..., None]).sum(0)


def _log_prob_of_steps(
    model: vaezoo.Model, batch: vaezoo.Batch, code: Tensor, context: Tensor | None
) -> Tensor:
    """log p(x|z) of each step for codes ``[K, B, T, C]``, in nats, ``[K, B, T]``.

    Each step is passed to the likelihood as a sequence of one step.
    """
    count = batch.x.shape[1]

    def repeat(value: Tensor) -> Tensor:
        return value.repeat_interleave(count, 0)

    steps = vaezoo.Batch(
        batch.x.flatten(0, 1)[:, None],  # [B * T, 1, D]
        mask=None if batch.mask is None else batch.mask.flatten(0, 1)[:, None],
        extras={name: repeat(value) for name, value in batch.extras.items()},
    )
    code = code.flatten(1, 2)[:, :, None]  # [K, B * T, 1, C]
    context = None if context is None else repeat(context)
    px = model.likelihood_of(code, context, steps.extras)
    log_px = model.likelihood.log_prob(vaezoo.Trace(model, steps, (), code, px, context))
    return log_px.unflatten(1, (-1, count))


def _prediction_error(prediction: Tensor, x: Tensor, shown: Tensor, support: str) -> Tensor:
    """The error at each step, ``[B, T]``: 0 or 1 for symbols, else that of the shown cells."""
    if support == "one-hot":
        return (prediction.argmax(-1) != x.argmax(-1)).float()
    return masked((prediction - x).square(), shown).sum(-1)


class ReconstructionAccuracy(vaezoo.Metric):
    """The fraction of symbols that are reconstructed correctly from z alone, by greedy decoding.

    Each decoded symbol is the input of the next step. For text and other one-hot sequences with a
    single latent vector; steps after the end of a sequence are not counted.
    """

    higher_is_better = frozenset({"reconstruction_accuracy"})

    def __call__(self, model: vaezoo.Model, data: vaezoo.Loader) -> Mapping[str, vaezoo.Estimate]:
        """``reconstruction_accuracy``."""
        if model.data.support != "one-hot":
            raise NotImplementedError("defined for sequences of symbols only")
        correct, counts, means = [], [], []
        for batch in _batches(model, data, 1):
            z = model.posterior_mean(batch)
            means.append(z)
            steps = batch.x.shape[1]
            x = model.decode(z, batch.condition, steps=steps, extras=batch.extras)
            decoded = x.argmax(-1)  # [B, T]
            mask = batch.step_mask
            mask = torch.ones_like(decoded, dtype=torch.bool) if mask is None else mask
            correct.append(((decoded == batch.x.argmax(-1)) & mask).sum(1).cpu())
            counts.append(mask.sum(1).cpu())
        vaezoo.require_finite(torch.cat(means), "the posterior mean of example")
        return {"reconstruction_accuracy": per_step(torch.cat(correct), torch.cat(counts), "")}
