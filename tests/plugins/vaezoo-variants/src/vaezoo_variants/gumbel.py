"""Categorical latent variables, relaxed in training so that samples have gradients."""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from annotated_types import Gt
from torch import Tensor, nn
from torch.distributions import Distribution

import vaezoo
from vaezoo.distributions import OneHot, independent

Count = Annotated[int, Gt(1)]
Number = Annotated[float, Gt(0)] | vaezoo.Schedule


class UniformClasses(vaezoo.Prior):
    """Independent categorical variables whose classes are equally probable."""

    supports = frozenset({"one-hot"})

    def __init__(self, wiring: vaezoo.PriorWiring, /) -> None:
        super().__init__()
        self.register_buffer("zeros", torch.zeros(wiring.space.shape), persistent=False)

    def forward(self, context: Tensor | None, model: vaezoo.GenerativeModel) -> Distribution:
        """One distribution ``[]`` over vectors ``[N, C]``."""
        return independent(OneHot(self.get_buffer("zeros")), 1)


class GumbelSoftmax(vaezoo.Latents):
    """N = ``latent_dim`` categorical variables (Jang et al. 2017; Maddison et al. 2017).

    Samples are one-hot, in training relaxed. The rate is that of the one-hot variables, in nats.

    Args:
        classes: C, the number of values of each variable.
        temperature: of the relaxed samples; near 0 they are one-hot, with noisy gradients.
    """

    def __init__(
        self, wiring: vaezoo.LatentsWiring, /, *, classes: Count = 10, temperature: Number = 1.0
    ) -> None:
        super().__init__()
        self.spaces = (vaezoo.Space((wiring.latent_dim, classes), "one-hot"),)
        self.temperature, self.prior = temperature, wiring.prior(self.spaces[0])
        width = torch.Size(wiring.feature_shapes[-1]).numel()
        self.logits = nn.Linear(width, self.spaces[0].dimensions)

    def infer(self, inference: vaezoo.Inference) -> tuple[tuple[vaezoo.Site, ...], Tensor]:
        """One site with z ``[K, B, N, C]``, and codes ``[K, B, N * C]``."""
        logits = self.logits(inference.features[-1].flatten(1).float())  # [B, N * C]
        logits = logits.unflatten(1, self.spaces[0].shape)  # [B, N, C]
        q = independent(OneHot(logits), 1)
        if self.training:
            tau, logits = self.temperature, logits.expand(inference.k, *logits.shape)
            z = F.gumbel_softmax(logits, tau.value if isinstance(tau, vaezoo.Schedule) else tau)
        else:
            z = q.sample(torch.Size((inference.k,)))
        return (vaezoo.Site("z", z, q, inference.p(self.prior)),), z.flatten(-2)

    def generate(self, generation: vaezoo.Generation) -> Tensor:
        """Codes ``[n, N * C]``."""
        return generation.sample(self.prior).flatten(1)

    def code(self, z: Tensor, generation: vaezoo.Generation) -> Tensor:
        """Returns ``z``."""
        return z
