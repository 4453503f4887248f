"""A prior that depends on the condition."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from annotated_types import Gt
from torch import Tensor, nn
from torch.distributions import Distribution

import vaezoo
from vaezoo.distributions import DiagonalNormal
from vaezoo.nn import mlp


class ConditionalNormal(vaezoo.Prior):
    """p(z|c), a normal whose means and scales are computed from the context by a network.

    From Sohn et al. 2015. It is N(0, I) at initialisation.

    Args:
        hidden: the widths of the network's layers; an empty list makes means and log-scales linear
            in the context.
    """

    conditional = True

    def __init__(
        self,
        latent_dim: int,
        context_dim: int,
        /,
        *,
        hidden: Sequence[Annotated[int, Gt(0)]] = (256,),
    ) -> None:
        super().__init__()
        if not context_dim:
            raise ValueError("needs a condition: give the model one, with prior in its `into`")
        self.net = mlp(context_dim, hidden)
        self.out = nn.Linear(hidden[-1] if hidden else context_dim, 2 * latent_dim)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, h: Tensor | None) -> Distribution:
        """From contexts ``[B, context_dim]`` to normals ``[B]`` over ``[latent_dim]``."""
        assert h is not None, "the composer always passes a context to a conditional prior"
        mean, log_scale = self.out(self.net(h.float())).float().chunk(2, -1)
        return DiagonalNormal(mean, log_scale)
