"""Metrics of likelihood: the ELBO, its two terms, and log p(x) by importance sampling.

Shapes: n examples of a split.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated

import torch
from annotated_types import Ge, Gt
from torch import Tensor

from vaezoo.data.loader import Loader
from vaezoo.evaluation.metric import Estimate, Metric
from vaezoo.model.estimators import importance_sampling
from vaezoo.model.model import Model
from vaezoo.model.trace import elbo
from vaezoo.utils.finite import first_fault

Samples = Annotated[int, Gt(0)]
NLL_BOUND = "stochastic upper bound of -log p(x)"
"""What importance sampling and annealing from a distribution give, by Jensen's inequality."""


def mean_with_error(values: Tensor, **details: float) -> Estimate:
    """The mean of one number per example, ``[n]``, with its standard error.

    If a number is NaN or infinite, so is the mean, and the note names the first such example.
    """
    values = values.double()
    error = float(values.std() / math.sqrt(len(values))) if len(values) > 1 else None
    note = first_fault(values, "its value for example")
    mean, n = float(values.mean()), len(values)
    return Estimate(mean, error, n, details, note=note, per_example=values)


def distortion_and_rate(model: Model, data: Loader, samples: int) -> tuple[Tensor, Tensor]:
    """Distortion and rate of each example in nats, ``[n]`` each, averaged over posterior samples.

    Raises:
        NotImplementedError: a posterior or a prior has no density.
    """
    traces = (model(batch, samples) for batch in data.ordered(model.batch_size(samples)))
    terms = [
        torch.stack([trace.mean_distortion, trace.mean_rate]) for trace in traces
    ]  # [2, B] each
    distortion, rate = torch.cat(terms, 1).cpu()
    return distortion, rate


def note_if_not_normalised(estimate: Estimate, model: Model) -> Estimate:
    """Adds a note to a number in nats if p(x|z) is no normalised density of the data."""
    if all(each.is_normalised for each in model.likelihood.by_part.values()):
        return estimate
    note = (
        "p(x|z) is not normalised (such as the cross-entropy of grey values): comparable only "
        "with the same likelihood"
    )
    return replace(estimate, note=estimate.note or note)


class ELBO(Metric):
    """The evidence lower bound E_q[log p(x|z)] - KL(q(z|x) || p(z)).

    With a prior of which only a lower bound is known, it is computed with that bound, which the
    unit says; it is then lower than the ELBO of the same model.

    Args:
        samples: posterior samples for each example.
    """

    higher_is_better = frozenset({"elbo"})

    def __init__(self, *, samples: Samples = 1) -> None:
        self.samples = samples

    def __call__(self, model: Model, data: Loader) -> Mapping[str, Estimate]:
        """``elbo``."""
        distortion, rate = distortion_and_rate(model, data, self.samples)
        estimate = mean_with_error(elbo(-distortion, rate), samples=self.samples)
        # without latent variables it is log p(x) itself
        estimate = replace(estimate, bound="lower bound of log p(x)" if model.spaces else "")
        if model.density == "bound":
            unit = "nats per example, with a lower bound of log p(z)"
            estimate = replace(estimate, unit=unit)
        return {"elbo": note_if_not_normalised(estimate, model)}


class Rate(Metric):
    """The rate KL(q(z|x) || p(z)); an upper bound of it, as the unit says, with a prior of which
    only a lower bound is known.

    Args:
        samples: posterior samples for each example; used if the KL has no closed form.
    """

    def __init__(self, *, samples: Samples = 1) -> None:
        self.samples = samples

    def __call__(self, model: Model, data: Loader) -> Mapping[str, Estimate]:
        """``rate``."""
        _, rate = distortion_and_rate(model, data, self.samples)
        estimate = mean_with_error(rate, samples=self.samples)
        if model.density == "bound":
            unit = "nats per example, upper bound"
            estimate = replace(estimate, unit=unit, bound="upper bound of the rate")
        return {"rate": estimate}


class Distortion(Metric):
    """The distortion -E_q[log p(x|z)].

    Args:
        samples: posterior samples for each example.
    """

    lower_is_better = frozenset({"distortion"})

    def __init__(self, *, samples: Samples = 1) -> None:
        self.samples = samples

    def __call__(self, model: Model, data: Loader) -> Mapping[str, Estimate]:
        """``distortion``."""
        traces = (
            model(batch, self.samples) for batch in data.ordered(model.batch_size(self.samples))
        )
        distortion = torch.cat([trace.mean_distortion for trace in traces]).cpu()
        estimate = mean_with_error(distortion, samples=self.samples)
        return {"distortion": note_if_not_normalised(estimate, model)}


class NLL(Metric):
    """-log p(x) by importance sampling from the posterior (Burda et al. 2016): in expectation an
    upper bound.

    Args:
        samples: importance samples for each example.
        limit: how many examples to use, starting with the first; 0 for all.
    """

    lower_is_better = frozenset({"nll"})
    requires_exact_density = True

    def __init__(self, *, samples: Samples = 500, limit: Annotated[int, Ge(0)] = 0) -> None:
        self.samples, self.limit = samples, limit

    def __call__(self, model: Model, data: Loader) -> Mapping[str, Estimate]:
        """``nll``; its details contain the mean effective sample size."""
        batches = data.ordered(model.importance_batch_size, self.limit or None)
        results = [importance_sampling(model, batch, self.samples) for batch in batches]
        log_p = torch.cat([result[0] for result in results]).cpu()
        sample_size = torch.cat([result[1] for result in results]).double().mean()
        details = {"samples": self.samples, "effective_sample_size": float(sample_size)}
        bound = NLL_BOUND if model.spaces else ""
        estimate = replace(mean_with_error(-log_p, **details), bound=bound)
        return {"nll": note_if_not_normalised(estimate, model)}
