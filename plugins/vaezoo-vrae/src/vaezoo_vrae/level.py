"""One level of a chain of latents: its prior, its posterior and its recurrent state.

Shapes: N elements (samples times examples), H units of the hidden state, U parent dimensions (the
latents of all higher levels and what conditions the whole sequence), D latent dimensions of this
level, G hidden features of the posterior network, T steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

import vaezoo
from vaezoo.distributions import DiagonalNormal, LogScaleLimits


class Level(nn.Module):
    """p(z_t | parents, h), q(z_t | parents, h, data) and h' = GRU(h, [data, parents, z_t]).

    Chung et al. 2015, eqs. 5 to 9. The projections of the data, ``h_data`` and ``q_data``, do not
    depend on z: the caller applies them to all steps at once, and passes their results to
    ``update`` and ``posterior``.

    Args:
        input_size: number of features per step that enter the recurrence.
        posterior_input_size: number of features per step that enter the posterior.
        parent_size: U, the size of the parents: the code of the sequence latent and the z of
            the higher levels.
        latent_dim: D, the number of dimensions of the level's z.
        units: H, the size of the GRU's state.
        hidden: width of the prior and posterior networks.
        dropout: dropout probability in these networks.
        prior_limits: of the log-scales of the prior.
        name: the name of the latent variable.
        wiring: of the latents, to build the posterior.
    """

    def __init__(
        self,
        *,
        input_size: int,
        posterior_input_size: int,
        parent_size: int,
        latent_dim: int,
        units: int,
        hidden: int,
        dropout: float,
        prior_limits: LogScaleLimits,
        name: str,
        wiring: vaezoo.LatentsWiring,
    ) -> None:
        super().__init__()
        self.q_data = nn.Linear(posterior_input_size, hidden)
        self.q_known = nn.Linear(units + parent_size, hidden, bias=False)
        self.space = replace(wiring.space, shape=(latent_dim,), name=name)
        self.q_out = wiring.posterior((hidden,), self.space)
        self.p_net = nn.Sequential(
            nn.Linear(units + parent_size, hidden), nn.ReLU(), nn.Dropout(dropout)
        )
        self.p_out = nn.Linear(hidden, 2 * latent_dim)
        nn.init.zeros_(self.p_out.weight)
        nn.init.zeros_(self.p_out.bias)
        self.h_data = nn.Linear(input_size, 3 * units)
        self.h_latent = nn.Linear(parent_size + latent_dim, 3 * units, bias=False)
        self.h_state = nn.Linear(units, 3 * units)
        self.dropout, self.prior_limits = nn.Dropout(dropout), prior_limits

    def prior(self, state_and_parents: Tensor) -> DiagonalNormal:
        """p(z_t | parents, h); N(0, I) at initialization.

        Args:
            state_and_parents: hidden state and parent latents, concatenated, ``[*, H + U]``.
        """
        mean, log_scale = self.p_out(self.p_net(state_and_parents)).chunk(2, -1)  # [*, D] each
        return DiagonalNormal(mean, self.prior_limits(log_scale))

    def posterior(self, state_and_parents: Tensor, posterior_input: Tensor) -> DiagonalNormal:
        """q(z_t | parents, h, data).

        Args:
            state_and_parents: hidden state and parent latents, concatenated, ``[N, H + U]``.
            posterior_input: ``q_data`` of the step's features, ``[N, G]``.

        Raises:
            ValueError: the posterior is not a diagonal normal, so its steps cannot be stacked into
                one distribution.
        """
        q: Distribution = self.q_out(
            self.dropout(torch.relu(self.q_known(state_and_parents) + posterior_input))
        )
        if not isinstance(q, DiagonalNormal):
            raise ValueError("needs the posterior 'diagonal-normal'")
        return q

    def update(self, hidden_state: Tensor, step_input: Tensor, latents: Tensor) -> Tensor:
        """The next hidden state (a GRU step), ``[N, H]``.

        Args:
            hidden_state: ``[N, H]``.
            step_input: ``h_data`` of the step's features, ``[N, 3H]``.
            latents: the parent latents and this level's z, concatenated, ``[N, U + D]``.
        """
        units = hidden_state.shape[-1]
        from_input = step_input + self.h_latent(latents)  # [N, 3H]
        from_state = self.h_state(hidden_state)  # [N, 3H]
        gates = torch.sigmoid(from_input[..., : 2 * units] + from_state[..., : 2 * units])
        reset_gate, update_gate = gates.chunk(2, -1)  # [N, H] each
        candidate = torch.tanh(
            torch.addcmul(from_input[..., 2 * units :], reset_gate, from_state[..., 2 * units :])
        )
        return torch.lerp(candidate, hidden_state, update_gate)


def clocks_and_widths(
    levels: int, clocks: Sequence[int], widths: Sequence[int], latent_dim: int
) -> tuple[list[int], list[int]]:
    """The clocks and the widths of the levels whose width is not 0."""
    for name, values in (("clocks", clocks), ("widths", widths)):
        if values and len(values) != levels:
            raise ValueError(
                f"{name} must have one number for each of the {levels} levels, not {len(values)}"
            )
    pairs = zip(clocks or [1] * levels, widths or [latent_dim] * levels, strict=True)
    nonempty = [(clock, width) for clock, width in pairs if width]
    if not nonempty:
        raise ValueError(
            "every level has width 0: set a width above 0, or use the latents 'recurrent'"
        )
    return [clock for clock, _ in nonempty], [width for _, width in nonempty]
