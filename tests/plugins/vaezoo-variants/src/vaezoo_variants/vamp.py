"""The VampPrior: a mixture of posteriors at learned pseudo-inputs."""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Gt
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, MixtureSameFamily

import vaezoo


class VampPrior(vaezoo.Prior):
    """p(z) = 1/C Σ_c q(z | u_c) at learned pseudo-inputs u_c (Tomczak & Welling 2018, eq. 9).

    Args:
        components: C, the number of pseudo-inputs.
    """

    supports = frozenset({"real", "sphere"})

    def __init__(
        self, wiring: vaezoo.PriorWiring, /, *, components: Annotated[int, Gt(0)] = 500
    ) -> None:
        super().__init__()
        if "encoder" in wiring.into:
            raise ValueError("pseudo-inputs have no condition; remove encoder from its `into`")
        self.name, self.is_bounded = wiring.space.name, wiring.data.support != "real"
        self.pseudo_inputs = nn.Parameter(torch.randn(components, *wiring.data.shape))

    def forward(self, context: Tensor | None, model: vaezoo.GenerativeModel) -> Distribution:
        """One mixture ``[]`` for all examples."""
        u = self.pseudo_inputs.sigmoid() if self.is_bounded else self.pseudo_inputs
        q = model.posterior(vaezoo.Batch(u), self.name)  # batch shape [C]
        weights = Categorical(logits=u.new_zeros(len(u)), validate_args=False)
        return MixtureSameFamily(weights, q, validate_args=False)
