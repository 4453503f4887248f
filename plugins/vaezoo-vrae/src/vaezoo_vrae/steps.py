"""Networks that act on steps: the encoder and decoder of sequences.

Shapes: B examples, T steps, D numbers in a step, F features of a step, N = any number of leading elements.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, TypeAlias

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn

import vaezoo
from vaezoo.nn import Activation, masked, mlp

Width = Annotated[int, Gt(0)]
Share = Annotated[float, Ge(0), Lt(1)]
Cell: TypeAlias = Literal["gru", "lstm", "rnn"]
CELLS: dict[str, type[nn.RNNBase]] = {"gru": nn.GRU, "lstm": nn.LSTM, "rnn": nn.RNN}


def lengths(mask: Tensor | None, x: Tensor) -> Tensor:
    """How many steps each sequence has, ``[B]``: up to the last that is observed, and at least one."""
    if mask is None:
        return torch.full((len(x),), x.shape[1], device=x.device)
    steps = torch.arange(1, mask.shape[1] + 1, device=mask.device)
    return (mask * steps).amax(1).clamp(min=1)


def padding_mask(counts: Tensor, steps: int) -> Tensor:
    """True at the steps that exist, ``[B, T]``."""
    return torch.arange(steps, device=counts.device) < counts[:, None]


def backwards(x: Tensor, counts: Tensor) -> Tensor:
    """Each sequence ``[B, T, F]`` from its own last step to its first; padding stays at the end."""
    steps = torch.arange(x.shape[1], device=x.device)
    index = torch.where(steps < counts[:, None], counts[:, None] - 1 - steps, steps)
    return x.gather(1, index[..., None].expand_as(x))


class RecurrentEncoder(vaezoo.Encoder):
    """A network on each step, then recurrent ones over all of them, forward, backward or both.

    Gives the features of each step alone ``[B, T, F]``, which is what latents that go step by step take as the input
    they have heard; the states of the recurrent networks ``[B, T, H]``; and their last states ``[B, H]``. Backward
    states at t have seen the steps from t to the end, so a posterior at t that is given them smooths; with ``cell:
    none`` there are features of steps alone, and it filters. Padding changes nothing.

    Args:
        hidden: the widths of the layers on each step; none leaves the data as it is.
        activation: what follows each of them.
        cell: ``gru``, ``lstm``, ``rnn`` or ``none``.
        units: the width of a recurrent network.
        layers: how many lie upon one another.
        direction: ``forward``, ``backward`` or ``both``.
        dropout: the share of features of steps that are dropped while training.
    """

    def __init__(
        self,
        in_shape: tuple[int, ...],
        /,
        *,
        hidden: Sequence[Width] = (),
        activation: Activation = "relu",
        cell: Cell | Literal["none"] = "gru",
        units: Width = 128,
        layers: Width = 1,
        direction: Literal["forward", "backward", "both"] = "both",
        dropout: Share = 0.0,
    ) -> None:
        super().__init__()
        if len(in_shape) != 2:
            raise ValueError(f"wants sequences of vectors, not examples of shape {in_shape}")
        self.net = mlp(in_shape[1], hidden, activation_name=activation)
        self.dropout = nn.Dropout(dropout)
        width = hidden[-1] if hidden else in_shape[1]
        ways = {"forward": (False,), "backward": (True,), "both": (False, True)}[direction]
        self.ways = () if cell == "none" else ways
        self.rnns = nn.ModuleList(CELLS[cell](width, units, layers, batch_first=True) for _ in self.ways)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, ...]:
        """From ``[B, T, D]`` to features of steps, states, and last states."""
        features = self.dropout(self.net(masked(x, mask)))
        if not self.ways:
            return (features,)
        counts = lengths(mask, x)
        last = (counts - 1)[:, None, None]
        states, summary = [], []
        for way, rnn in zip(self.ways, self.rnns, strict=True):
            state = rnn(backwards(features, counts) if way else features)[0]
            summary.append(state.gather(1, last.expand(-1, 1, state.shape[2])).squeeze(1))
            states.append(backwards(state, counts) if way else state)
        return features, torch.cat(states, -1), torch.cat(summary, -1)


class StepsDecoder(vaezoo.Decoder):
    """The same fully connected layers on the code of each step.

    Args:
        hidden: the width of each layer.
        activation: what follows each layer; a gated layer has none.
        gated: multiply each layer by the sigmoid of another.
        dropout: the share of units dropped while training.
    """

    def __init__(
        self,
        in_shape: tuple[int, ...],
        out_shape: tuple[int, ...],
        /,
        *,
        hidden: Sequence[Width] = (200,),
        activation: Activation = "relu",
        gated: bool = False,
        dropout: Share = 0.0,
    ) -> None:
        super().__init__()
        if len(in_shape) != 2 or len(out_shape) != 2:
            raise ValueError(
                f"wants a code for each step, such as the latents recurrent and chain give, not {in_shape}"
            )
        self.net = mlp(in_shape[1], hidden, activation_name=activation, gated=gated, dropout=dropout)
        self.out = nn.Linear(hidden[-1] if hidden else in_shape[1], out_shape[1])

    def forward(self, code: Tensor) -> Tensor:
        """From ``[N, T, C]`` to ``[N, T, O]``."""
        return self.out(self.net(code))
