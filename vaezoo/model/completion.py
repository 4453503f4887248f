"""Completes examples of which only a part is observed, and draws examples with a known part.

Shapes: B examples, K proposals for each, ``*shape`` the shape of one example.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vaezoo.data.batch import Batch
from vaezoo.model.latent_variable_model import LatentVariableModel
from vaezoo.model.trace import Trace
from vaezoo.nn import masked


@dataclass(frozen=True)
class Completion:
    """Examples with what was not observed drawn from p(x | what was observed).

    Attributes:
        x: ``[draws, B, *shape]``.
        effective_sample_size: of the importance weights of each example, ``[B]``, from 1 to K:
            how many proposals the draws are chosen from.
    """

    x: Tensor
    effective_sample_size: Tensor


def complete(
    model: LatentVariableModel, batch: Batch, draws: int, samples: int, *, from_prior: bool
) -> Completion:
    """Draws what the mask of examples hides, by sampling-importance-resampling (Rubin 1987).

    Proposals of z and of the hidden values are weighted by the probability of the observed ones,
    and drawn by their weights. The more proposals, the closer to p(x | observed).

    Args:
        model: in evaluation mode.
        batch: the examples; values that the mask hides do not count.
        draws: the number of draws for each example.
        samples: K, the number of proposals for each example.
        from_prior: whether z is proposed by p(z), and not by q(z | observed).

    Raises:
        NotImplementedError: a density is missing, or only a bound is known.
    """
    batch = replace(batch, x=masked(batch.x, batch.mask))
    trace = _from_prior(model, batch, samples) if from_prior else model(batch, samples)
    if not from_prior:
        trace.require_importance_weights()
    x, log_p = model.likelihood.complete(trace)  # [K, B, *shape], [K, B]
    log_weight = log_p
    for site in () if from_prior else trace.sites:
        log_weight = log_weight - site.log_ratio
    weight = log_weight.softmax(0)  # [K, B]
    chosen = torch.multinomial(weight.T, draws, replacement=True).T  # [draws, B]
    columns = torch.arange(len(batch), device=x.device)
    return Completion(x[chosen, columns], 1 / weight.square().sum(0))


def _from_prior(model: LatentVariableModel, batch: Batch, samples: int) -> Trace:
    """A pass with K codes from the prior for each example, without latent variables.

    Raises:
        NotImplementedError: the latents generate step by step, and may use the steps before.
    """
    if model.latents.stepwise:
        raise NotImplementedError(
            "from_prior is not defined for latents that generate step by step"
        )
    n = len(batch)
    context = model.context(batch.condition, n)
    repeated = None if context is None else context.repeat(samples, *[1] * (context.dim() - 1))
    generation = model.start_generation(samples * n, repeated)
    code = model.latents.generate(generation)  # [K * B, *code_shape]
    code = code.unflatten(0, (samples, n))
    px = model.likelihood_of(code, context, batch.extras)
    return Trace(model, batch, (), code, px, context)
