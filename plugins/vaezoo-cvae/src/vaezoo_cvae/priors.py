"""A prior that depends on the condition."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from annotated_types import Gt
from torch import Tensor, nn
from torch.distributions import Distribution

import vaezoo
from vaezoo.distributions import DiagonalNormal, LogScaleLimits
from vaezoo.nn import mlp


class ConditionalNormal(vaezoo.Prior):
    """p(z|c), a normal whose means and scales are computed from the context by a network.

    From Sohn et al. 2015. It is N(0, I) at initialisation.

    Args:
        hidden: the widths of the network's layers; an empty list makes means and log-scales linear
            in the context.
        minimum, maximum: the limits of log sigma, as in the posterior ``diagonal-normal``; null,
            as in v1 specs, sets no limit.
    """

    conditional = True

    def __init__(
        self,
        wiring: vaezoo.PriorWiring,
        /,
        *,
        hidden: Sequence[Annotated[int, Gt(0)]] = (256,),
        minimum: Annotated[float | None, vaezoo.BeforeV2(None)] = -5.0,
        maximum: Annotated[float | None, vaezoo.BeforeV2(None)] = 20.0,
    ) -> None:
        super().__init__()
        if not wiring.context_dim:
            raise ValueError("needs a condition: give the model one, with prior in its `into`")
        self.net, self.shape = mlp(wiring.context_dim, hidden), wiring.space.shape
        width = hidden[-1] if hidden else wiring.context_dim
        self.out = nn.Linear(width, 2 * wiring.space.dimensions)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        self.limit = LogScaleLimits(minimum, maximum)

    def forward(self, context: Tensor | None, model: vaezoo.GenerativeModel) -> Distribution:
        """From contexts ``[B, E]`` to normals ``[B]`` over ``space.shape``."""
        assert context is not None, "the composer always passes a context to a conditional prior"
        parameters = self.out(self.net(context.float())).float()  # [B, 2 * dimensions]
        mean, log_scale = (part.unflatten(1, self.shape) for part in parameters.chunk(2, -1))
        return DiagonalNormal(mean, self.limit(log_scale), len(self.shape))
