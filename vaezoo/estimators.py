"""Estimates of log p(x) that every model shares."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vaezoo.trace import Batch, Trace

if TYPE_CHECKING:
    from vaezoo.model import Model

SCALARS_AT_ONCE = 2**21
"""How many decoded numbers are computed together: 8 MiB for each intermediate result, which fits a cache."""


def importance(model: Model, batch: Batch, samples: int) -> tuple[Tensor, Tensor]:
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


def _importance(model: Model, batch: Batch, samples: int) -> tuple[Tensor, Tensor]:
    context = model.context(batch.condition, len(batch))
    features = model.features(batch, context)
    at_once = max(1, SCALARS_AT_ONCE // (len(batch) * model.outputs))
    total = squares = torch.full((len(batch),), -math.inf, device=batch.x.device)
    for start in range(0, samples, at_once):
        k = min(at_once, samples - start)
        sites, code = model.infer(features, context, batch.mask, k)
        log_weight = Trace(batch, sites, model.likelihood_of(code, context)).log_weight
        total = torch.logaddexp(total, torch.logsumexp(log_weight, 0))
        squares = torch.logaddexp(squares, torch.logsumexp(2 * log_weight, 0))
    return total - math.log(samples), (2 * total - squares).exp()
