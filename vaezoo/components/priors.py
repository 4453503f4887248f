"""Priors p(z) that do not depend on a context."""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Gt
from torch import Tensor, nn
from torch.distributions import Distribution

from vaezoo import distributions
from vaezoo.model.parts import Prior
from vaezoo.model.protocol import GenerativeModel
from vaezoo.model.wiring import PriorWiring


class StandardNormal(Prior):
    """N(0, I)."""

    zero: Tensor

    def __init__(self, wiring: PriorWiring, /) -> None:
        super().__init__()
        self.register_buffer("zero", torch.zeros(wiring.space.shape), persistent=False)

    def forward(self, context: Tensor | None, model: GenerativeModel) -> Distribution:
        """The same N(0, I) for every context, with batch shape ``[]``."""
        return distributions.UnitNormal(self.zero)


class Mixture(Prior):
    """A mixture of diagonal normals with learned weights, means and scales.

    Its KL has no closed form and is estimated from samples.

    Args:
        components: the number of normals.
        spread: the standard deviation of the initial means.
    """

    def __init__(
        self,
        wiring: PriorWiring,
        /,
        *,
        components: Annotated[int, Gt(0)] = 10,
        spread: Annotated[float, Gt(0)] = 1.0,
    ) -> None:
        super().__init__()
        if len(wiring.space.shape) != 1:
            raise ValueError(f"needs latent vectors, not maps of shape {wiring.space.shape}")
        (latent_dim,) = wiring.space.shape
        self.logits = nn.Parameter(torch.zeros(components))
        self.mean = nn.Parameter(spread * torch.randn(components, latent_dim))
        self.log_scale = nn.Parameter(torch.zeros(components, latent_dim))

    def forward(self, context: Tensor | None, model: GenerativeModel) -> Distribution:
        """The same mixture for every context, with batch shape ``[]``."""
        return distributions.NormalMixture(self.logits, self.mean, self.log_scale)
