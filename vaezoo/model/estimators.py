"""Estimates of log p(x) that work for every model."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vaezoo.data.batch import Batch
from vaezoo.model.latent_variable_model import LatentVariableModel
from vaezoo.model.trace import Trace


def importance_sampling(
    model: LatentVariableModel, batch: Batch, samples: int
) -> tuple[Tensor, Tensor]:
    """Estimates log p(x) by importance sampling from q(z|x) (Burda et al. 2016, eq. 8).

    The batch is encoded once. The samples are decoded in chunks, to bound the memory.

    Args:
        model: in evaluation mode.
        batch: the examples.
        samples: the number of importance samples for each example, K in eq. 8.

    Returns:
        The estimate of log p(x) in nats, ``[B]``, and the effective sample size, ``[B]``,
        between 1 and ``samples``.
    """
    with model.inference():
        return _importance_sampling(model, batch, samples)


def _importance_sampling(
    model: LatentVariableModel, batch: Batch, samples: int
) -> tuple[Tensor, Tensor]:
    context = model.context(batch.condition, len(batch))
    features = model.features(batch, context)
    chunk_size = model.samples_per_chunk(len(batch))
    # log of the sum of the weights and of their squares, [B]
    log_sum = log_sum_squares = torch.full((len(batch),), -math.inf, device=batch.x.device)
    for start in range(0, samples, chunk_size):
        k = min(chunk_size, samples - start)
        sites, code = model.infer(features, context, batch.mask, k)
        log_weight = Trace(batch, sites, model.likelihood_of(code, context)).log_weight  # [k, B]
        log_sum = torch.logaddexp(log_sum, torch.logsumexp(log_weight, 0))
        log_sum_squares = torch.logaddexp(log_sum_squares, torch.logsumexp(2 * log_weight, 0))
    return log_sum - math.log(samples), (2 * log_sum - log_sum_squares).exp()
