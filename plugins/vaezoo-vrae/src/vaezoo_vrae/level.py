"""One level of a chain: its prior, its posterior, and the recurrent state that both know.

Shapes: N elements (samples times examples), H units of the state, U numbers above the level, D dimensions of its z.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

import vaezoo
from vaezoo.distributions import DiagonalNormal


class Level(nn.Module):
    """p(z_t | above, h), q(z_t | above, h, data) and h' = GRU(h, [data, above, z_t]) (Chung et al. 2015, eqs. 5 to 9).

    What depends on data alone is computed for all steps at once; the step adds what depends on z.

    Args:
        heard: the features of a step that the recurrence takes.
        seen: the features of a step that the posterior takes.
        above: U.
        width: D.
        units: H.
        hidden: the width of the networks of prior and posterior.
        dropout: the share of their units dropped while training.
        posterior: the factory that latents are given.
    """

    def __init__(
        self,
        heard: int,
        seen: int,
        above: int,
        width: int,
        units: int,
        hidden: int,
        dropout: float,
        posterior: Callable[[int, int], vaezoo.Posterior],
    ) -> None:
        super().__init__()
        self.q_data, self.q_known = nn.Linear(seen, hidden), nn.Linear(units + above, hidden, bias=False)
        self.q_out = posterior(hidden, width)
        self.p_net = nn.Sequential(nn.Linear(units + above, hidden), nn.ReLU(), nn.Dropout(dropout))
        self.p_out = nn.Linear(hidden, 2 * width)
        nn.init.zeros_(self.p_out.weight)
        nn.init.zeros_(self.p_out.bias)
        self.h_data, self.h_latent = nn.Linear(heard, 3 * units), nn.Linear(above + width, 3 * units, bias=False)
        self.h_state = nn.Linear(units, 3 * units)
        self.dropout = nn.Dropout(dropout)

    def prior(self, known: Tensor) -> DiagonalNormal:
        """From state and what is above ``[*, H + U]``; N(0, I) before training."""
        mean, log_scale = self.p_out(self.p_net(known)).chunk(2, -1)
        return DiagonalNormal(mean, log_scale)

    def posterior(self, known: Tensor, seen: Tensor) -> DiagonalNormal:
        """From the same and what ``q_data`` makes of the data.

        Raises:
            ValueError: the posterior is no diagonal normal, whose steps could be put together.
        """
        q: Distribution = self.q_out(self.dropout(torch.relu(self.q_known(known) + seen)))
        if not isinstance(q, DiagonalNormal):
            raise ValueError("the steps of a chain need the posterior diagonal-normal")
        return q

    def update(self, h: Tensor, heard: Tensor, latent: Tensor) -> Tensor:
        """The next state, from what ``h_data`` makes of the data and ``[N, U + D]``."""
        units = h.shape[-1]
        data, state = heard + self.h_latent(latent), self.h_state(h)
        gates = torch.sigmoid(data[..., : 2 * units] + state[..., : 2 * units])
        reset, keep = gates.chunk(2, -1)
        fresh = torch.tanh(torch.addcmul(data[..., 2 * units :], reset, state[..., 2 * units :]))
        return torch.lerp(fresh, h, keep)
