"""Estimates of log p(x) that every model shares."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vaezoo.data.batch import Batch
from vaezoo.model.latent_variable_model import LatentVariableModel
from vaezoo.model.trace import Trace


def importance(model: LatentVariableModel, batch: Batch, samples: int) -> tuple[Tensor, Tensor]:
    """log p(x) by importance sampling from q(z|x) (Burda et al. 2016, eq. 8 with K = samples).

    The batch is encoded once; samples are drawn a few at a time and their weights summed as they come.

    Args:
        model: in evaluation mode.
        batch: the examples.
        samples: how many in all, exactly.

    Returns:
        The estimate of log p(x) in nats, ``[B]``, and the effective sample size, ``[B]``, from 1 to ``samples``.
    """
    with model.inference():
        return _importance(model, batch, samples)


def _importance(model: LatentVariableModel, batch: Batch, samples: int) -> tuple[Tensor, Tensor]:
    context = model.context(batch.condition, len(batch))
    features = model.features(batch, context)
    at_once = model.samples_at_once(len(batch))
    total = squares = torch.full((len(batch),), -math.inf, device=batch.x.device)
    for start in range(0, samples, at_once):
        k = min(at_once, samples - start)
        sites, code = model.infer(features, context, batch.mask, k)
        log_weight = Trace(batch, sites, model.likelihood_of(code, context)).log_weight
        total = torch.logaddexp(total, torch.logsumexp(log_weight, 0))
        squares = torch.logaddexp(squares, torch.logsumexp(2 * log_weight, 0))
    return total - math.log(samples), (2 * total - squares).exp()
