"""What is known in one pass through a model: a record of inference and one of generation.

Latents are passed these records, and need no other knowledge of the model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from vaezoo.data.batch import Batch
from vaezoo.distributions import Implicit, sample_prior
from vaezoo.model.parts import Prior
from vaezoo.model.protocol import GenerativeModel
from vaezoo.model.trace import Trace


@dataclass(frozen=True)
class Inference:
    """The inference of latent variables for one batch.

    Attributes:
        model: the model.
        batch: the examples.
        features: the encoder's output, ``[B, ...]`` each, fine to coarse. They may come in a
            lower precision; convert those that are used with ``float()``.
        context: the conditioner's output ``[B, ...]``; None in an unconditional model.
        prior_context: the context of the prior, ``[B, E]``; None if it receives none.
        k: the number K of samples.
        fixed: values of latent variables by name, ``[K, B, *event]``, which replace samples, for
            example to enumerate a category.
        memo: remembers the priors of this batch over several calls, for one set of weights; None
            computes them in every call.
        has_priors: whether the priors are needed; without, ``p`` returns a stand-in.
        sampler: the prior that replaces that of the latents, or None.
    """

    model: GenerativeModel
    batch: Batch
    features: tuple[Tensor, ...]
    context: Tensor | None = None
    prior_context: Tensor | None = None
    k: int = 1
    fixed: Mapping[str, Tensor] = field(default_factory=dict)
    memo: dict[int, Distribution] | None = None
    has_priors: bool = True
    sampler: Prior | None = None

    def p(self, prior: Prior) -> Distribution:
        """The prior of one latent variable, for the contexts of this batch.

        A prior that is not ``conditional`` gets no contexts.
        """
        if not self.has_priors:
            return Implicit(torch.empty(0))
        prior = prior if self.sampler is None else self.sampler
        if self.memo is not None and id(prior) in self.memo:
            return self.memo[id(prior)]
        context = self.prior_context if prior.conditional else None
        p: Distribution = prior(context, self.model)
        if self.memo is not None:
            self.memo[id(prior)] = p
        return p

    def log_likelihood(self, code: Tensor) -> Tensor:
        """log p(x|z) of the batch for codes ``[K, B, ...]``, in nats, ``[K, B]``."""
        px = self.model.likelihood_of(code, self.context, self.batch.extras)
        return Trace(self.model, self.batch, (), code, px, self.context).log_likelihood


def _no_features(code: Tensor) -> Any:
    raise ValueError("these latents do not generate step by step")


@dataclass(frozen=True)
class Generation:
    """The generation of codes from the prior, or from given latent vectors.

    Attributes:
        model: the model.
        n: the number of codes.
        context: the contexts ``[n, ...]``; None in an unconditional model.
        prior_context: the contexts of the prior, ``[n, E]``; None if it receives none.
        prior_temperature: of the samples of priors; 1 samples the priors themselves, 0 takes
            their most probable value.
        steps: for stepwise latents, the number of steps to generate, without those of the prefix.
        prefix: for stepwise latents, the inference of the steps to continue from, or None.
        next_features: for stepwise latents, maps the code of one step ``[n, 1, ...]`` to the
            features ``[n, 1, ...]`` of the data sampled for it.
        sampler: the prior that replaces that of the latents, or None.
        extras: the extras for the likelihood by name, ``[n, ...]``; None takes typical ones.
    """

    model: GenerativeModel
    n: int
    context: Tensor | None = None
    prior_context: Tensor | None = None
    prior_temperature: float = 1.0
    steps: int = 0
    prefix: Inference | None = None
    next_features: Callable[[Tensor], tuple[Tensor, ...]] = _no_features
    sampler: Prior | None = None
    extras: Mapping[str, Tensor] | None = None

    def p(self, prior: Prior) -> Distribution:
        """The prior of one latent variable, for the contexts of this generation.

        A prior that is not ``conditional`` gets no contexts.
        """
        prior = prior if self.sampler is None else self.sampler
        p: Distribution = prior(self.prior_context if prior.conditional else None, self.model)
        return p

    def sample(self, prior: Prior) -> Tensor:
        """Samples ``[n, *event]`` of a prior, at ``prior_temperature``."""
        return sample_prior(self.p(prior), self.n, self.prior_temperature)
