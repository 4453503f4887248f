"""Estimates of log p(x) that work for every model."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from vaezoo.data.batch import Batch
from vaezoo.model.latent_variable_model import LatentVariableModel


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

    Raises:
        NotImplementedError: a density is missing, or only a bound is known.
    """
    with model.inference():
        return _importance_sampling(model, batch, samples)


def _importance_sampling(
    model: LatentVariableModel, batch: Batch, samples: int
) -> tuple[Tensor, Tensor]:
    inference = model.start_inference(batch, memo={})
    chunk_size = model.samples_per_chunk(len(batch))
    # log of the sum of the weights and of their squares, [B]
    log_sum = log_sum_squares = torch.full((len(batch),), -math.inf, device=batch.device)
    for start in range(0, samples, chunk_size):
        k = min(chunk_size, samples - start)
        trace = model.infer(replace(inference, k=k))
        trace.require_importance_weights()  # before decoding
        px = model.likelihood_of(trace.code, trace.context, batch.extras)
        log_weight = replace(trace, px=px).log_weight  # [k, B]
        log_sum = torch.logaddexp(log_sum, torch.logsumexp(log_weight, 0))
        log_sum_squares = torch.logaddexp(log_sum_squares, torch.logsumexp(2 * log_weight, 0))
    return log_sum - math.log(samples), (2 * log_sum - log_sum_squares).exp()
