"""Estimates of log p(x) that work for every model."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vaezoo.data.batch import Batch
from vaezoo.model.latent_variable_model import LatentVariableModel


@dataclass(frozen=True)
class WeightSums:
    """Sums of the importance weights p(x, z) / q(z|x) of each example, in logarithms.

    Attributes:
        samples: the number of weights of each example.
        log_sum: the log of their sum, ``[B]``.
        log_sum_squares: the log of the sum of their squares, ``[B]``.
    """

    samples: int
    log_sum: Tensor
    log_sum_squares: Tensor

    @classmethod
    def of_none(cls, batch: Batch) -> WeightSums:
        """The sums of no weights."""
        nothing = torch.full((len(batch),), -math.inf, device=batch.device)
        return cls(0, nothing, nothing)

    @property
    def log_p(self) -> Tensor:
        """The estimate of log p(x) in nats, ``[B]``."""
        return self.log_sum - math.log(self.samples)

    @property
    def effective_sample_size(self) -> Tensor:
        """Between 1 and ``samples``, ``[B]``."""
        return (2 * self.log_sum - self.log_sum_squares).exp()


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
    sums = add_samples(model, batch, WeightSums.of_none(batch), samples)
    return sums.log_p, sums.effective_sample_size


def add_samples(
    model: LatentVariableModel, batch: Batch, sums: WeightSums, samples: int
) -> WeightSums:
    """The sums with the weights of further samples, all decoded in chunks.

    Args:
        model, batch: as in ``importance_sampling``.
        sums: those of earlier samples of the same batch.
        samples: how many to add for each example.

    Raises:
        NotImplementedError: as in ``importance_sampling``.
    """
    with model.inference():
        return _add_samples(model, batch, sums, samples)


def _add_samples(
    model: LatentVariableModel, batch: Batch, sums: WeightSums, samples: int
) -> WeightSums:
    inference = model.start_inference(batch, memo={})
    chunk_size = model.samples_per_chunk(len(batch))
    log_sum, log_sum_squares = sums.log_sum, sums.log_sum_squares
    for start in range(0, samples, chunk_size):
        k = min(chunk_size, samples - start)
        trace = model.infer(replace(inference, k=k))
        trace.require_importance_weights()  # before decoding
        px = model.likelihood_of(trace.code, trace.context, batch.extras)
        log_weight = replace(trace, px=px).log_weight  # [k, B]
        log_sum = torch.logaddexp(log_sum, torch.logsumexp(log_weight, 0))
        log_sum_squares = torch.logaddexp(log_sum_squares, torch.logsumexp(2 * log_weight, 0))
    return WeightSums(sums.samples + samples, log_sum, log_sum_squares)
