"""Networks that act on steps: the encoder and decoder of sequences.

Shapes: B examples, T steps, D values per step, F features per step, H units of a recurrent
network, C dimensions of a step's code, O decoder outputs per step, N = any number of leading
elements.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Literal, TypeAlias

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn

import vaezoo
from vaezoo.nn import Activation, masked, mlp

PositiveInt = Annotated[int, Gt(0)]
Probability = Annotated[float, Ge(0), Lt(1)]
Cell: TypeAlias = Literal["gru", "lstm", "rnn"]
CELLS: dict[str, type[nn.RNNBase]] = {"gru": nn.GRU, "lstm": nn.LSTM, "rnn": nn.RNN}


def sequence_lengths(mask: Tensor | None, x: Tensor) -> Tensor:
    """The number of steps of each sequence, ``[B]``: up to the last observed step, and at least 1.

    Args:
        mask: True at observed steps, ``[B, T]``, or cells, ``[B, T, D]``; None if all are.
        x: sequences ``[B, T, ...]``.
    """
    if mask is None:
        return torch.full((len(x),), x.shape[1], device=x.device)
    mask = mask.any(-1) if mask.dim() == 3 else mask
    steps = torch.arange(1, mask.shape[1] + 1, device=mask.device)
    return (mask * steps).amax(1).clamp(min=1)


def padding_mask(lengths: Tensor, steps: int) -> Tensor:
    """True at steps that exist, False at padding, ``[B, steps]``."""
    return torch.arange(steps, device=lengths.device) < lengths[:, None]


def select_steps(batch: vaezoo.Batch, steps: slice) -> vaezoo.Batch:
    """Some steps of the sequences of a batch."""
    mask = None if batch.mask is None else batch.mask[:, steps]
    return replace(batch, x=batch.x[:, steps], mask=mask)


def reverse_sequences(x: Tensor, lengths: Tensor) -> Tensor:
    """Reverses each sequence ``[B, T, F]`` within its length ``[B]``; padding stays at the end."""
    steps = torch.arange(x.shape[1], device=x.device)
    index = torch.where(steps < lengths[:, None], lengths[:, None] - 1 - steps, steps)  # [B, T]
    return x.gather(1, index[..., None].expand_as(x))  # index expanded to [B, T, F]


class RecurrentEncoder(vaezoo.Encoder):
    """A fully connected network on each step, then recurrent networks over the steps.

    It returns the features of each step alone ``[B, T, F]``, which stepwise latents take as inputs
    of their recurrence; the states of the recurrent networks ``[B, T, H]``; and their last states
    ``[B, H]``. A backward state at step t depends on the steps from t to the end, so a posterior
    that takes it is a smoothing one. With ``cell: none`` there are only the features of each step,
    and the posterior is a filtering one. Padding does not change the result. Where the mask covers
    the cells of steps, the network on each step is told beside their values which of them are
    observed, unless a context is fused with its input.

    Args:
        hidden: widths of the layers on each step; empty leaves the data as they are.
        activation: the activation after each of these layers.
        cell: ``gru``, ``lstm``, ``rnn`` or ``none``.
        units: width of a recurrent network.
        layers: number of stacked recurrent layers.
        direction: ``forward``, ``backward`` or ``both``.
        dropout: dropout probability for the features of steps.
    """

    def __init__(
        self,
        wiring: vaezoo.EncoderWiring,
        /,
        *,
        hidden: Sequence[PositiveInt] = (),
        activation: Activation = "relu",
        cell: Cell | Literal["none"] = "gru",
        units: PositiveInt = 128,
        layers: PositiveInt = 1,
        direction: Literal["forward", "backward", "both"] = "both",
        dropout: Probability = 0.0,
    ) -> None:
        super().__init__()
        in_shape = wiring.in_shape
        if len(in_shape) != 2:
            raise ValueError(
                f"needs sequences of vectors [T, D], not examples of shape {in_shape}"
            )
        # a fused input is as wide as it is with a context, and has the mask of steps
        self.sees_cells = wiring.data.mask_dims == 2 and in_shape[1] == wiring.data.shape[1]
        width = 2 * in_shape[1] if self.sees_cells else in_shape[1]
        self.net = mlp(width, hidden, activation_name=activation)
        self.dropout = nn.Dropout(dropout)
        width = hidden[-1] if hidden else width
        directions = {"forward": (False,), "backward": (True,), "both": (False, True)}[direction]
        self.ways = () if cell == "none" else directions  # True for a backward network
        self.rnns = nn.ModuleList(
            CELLS[cell](width, units, layers, batch_first=True) for _ in self.ways
        )

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, ...]:
        """From ``[B, T, D]`` to the features of each step, the states and the last states."""
        values = masked(x, mask)
        if self.sees_cells:
            shown = masked(torch.ones_like(values), mask)
            values = torch.cat([values, shown], -1)  # [B, T, 2 D]
        features = self.dropout(self.net(values))
        if not self.ways:
            return (features,)
        lengths = sequence_lengths(mask, x)
        last_step = (lengths - 1)[:, None, None]  # [B, 1, 1]
        states, last_states = [], []
        for is_backward, rnn in zip(self.ways, self.rnns, strict=True):
            state, _ = rnn(reverse_sequences(features, lengths) if is_backward else features)
            index = last_step.expand(-1, 1, state.shape[2])  # [B, 1, H]
            last_states.append(state.gather(1, index).squeeze(1))  # [B, H]
            states.append(reverse_sequences(state, lengths) if is_backward else state)
        return features, torch.cat(states, -1), torch.cat(last_states, -1)


class StepsDecoder(vaezoo.Decoder):
    """The same fully connected layers applied to the code of each step.

    Args:
        hidden: the width of each layer.
        activation: the activation after each layer; a gated layer has none.
        gated: multiply each layer by the sigmoid of another.
        dropout: dropout probability after each layer.
    """

    def __init__(
        self,
        wiring: vaezoo.DecoderWiring,
        /,
        *,
        hidden: Sequence[PositiveInt] = (200,),
        activation: Activation = "relu",
        gated: bool = False,
        dropout: Probability = 0.0,
    ) -> None:
        super().__init__()
        in_shape, out_shape = wiring.in_shape, wiring.out_shape
        if len(in_shape) != 2 or len(out_shape) != 2:
            raise ValueError(
                "needs one code per step, as the latents 'recurrent' and 'chain' return, "
                f"not codes of shape {in_shape}"
            )
        self.net = mlp(
            in_shape[1], hidden, activation_name=activation, gated=gated, dropout=dropout
        )
        self.out = nn.Linear(hidden[-1] if hidden else in_shape[1], out_shape[1])

    def forward(self, code: Tensor) -> Tensor:
        """From ``[N, T, C]`` to ``[N, T, O]``."""
        return self.out(self.net(code))
