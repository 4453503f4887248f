"""A recurrent decoder from one latent vector: the variational recurrent autoencoder.

Shapes: K samples, B examples, T steps, F features of a step, H units.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

import vaezoo
from vaezoo_vrae.sequence_latent import SequenceLatent
from vaezoo_vrae.steps import CELLS, Cell, Share, Width


class Recurrent(vaezoo.Latents):
    """One latent vector z for the whole sequence, from which a recurrent network goes step by step (Fabius & van
    Amersfoort 2014).

    z sets its first state and is given to every step, beside the step before (as the encoder's features of it). The
    code of step t is the state before x_t, and z. The recurrence depends on no sample of a step, so one kernel runs all
    of it. With ``latent: false`` it is a plain recurrent network, whose likelihood is exact; then ``kl`` has nothing to
    weigh.

    Args:
        cell: ``gru``, ``lstm`` or ``rnn``.
        units: the width of its state.
        layers: how many lie upon one another.
        teacher_forcing: whether a step hears the one before: the data while training, its own draw while generating.
        word_dropout: the share of steps not heard while training, so that z has to say what they would
            (Bowman et al. 2016).
        dropout: the share of units of the state dropped from the code while training.
        latent: whether there is a z.
    """

    stepwise = True
    conditional = True

    def __init__(
        self,
        feature_shapes: tuple[tuple[int, ...], ...],
        latent_dim: int,
        posterior: Callable[[int, int], vaezoo.Posterior],
        prior: Callable[[int, int], vaezoo.Prior],
        context_dim: int,
        /,
        *,
        cell: Cell = "gru",
        units: Width = 256,
        layers: Width = 1,
        teacher_forcing: bool = True,
        word_dropout: Share = 0.0,
        dropout: Share = 0.0,
        latent: bool = True,
    ) -> None:
        super().__init__()
        if word_dropout and not teacher_forcing:
            raise ValueError("word_dropout is for teacher_forcing: without it no step is heard anyway")
        if not latent and not teacher_forcing:
            raise ValueError("without a latent vector and teacher_forcing nothing tells one sequence from another")
        self.sequence_latent = SequenceLatent(
            feature_shapes, latent_dim if latent else 0, posterior, prior, context_dim
        )
        self.heard = feature_shapes[0][-1] if teacher_forcing else 0
        if not self.heard + self.sequence_latent.width:
            raise ValueError("the recurrent network has no input")
        self.rnn = CELLS[cell](self.heard + self.sequence_latent.width, units, layers, batch_first=True)
        self.parts = 2 if cell == "lstm" else 1
        states = self.parts * layers * units
        self.first = nn.Linear(self.sequence_latent.width, states) if self.sequence_latent.width else None
        self.word_dropout, self.dropout = word_dropout, nn.Dropout(dropout)

    def infer(
        self, features: tuple[Tensor, ...], context: Tensor | None, mask: Tensor | None, k: int
    ) -> tuple[tuple[vaezoo.Site, ...], Tensor]:
        """The site of z, if any, and the code ``[K, B, T, H + D]``."""
        sites, top = self.sequence_latent.infer(features, context, k)
        return sites, self.codes(features[0].float(), top)

    def codes(self, heard: Tensor, top: Tensor) -> Tensor:
        """The codes ``[K, B, T, H + D]`` of sequences whose steps have features ``[B, T, F]``, under ``[K, B, W]``."""
        before = torch.cat([heard.new_zeros(len(heard), 1, heard.shape[2]), heard[:, :-1]], 1)
        if self.training and self.word_dropout:
            kept = torch.rand(before.shape[:2], device=before.device) >= self.word_dropout
            before = before * kept[..., None]
        k, flat = len(top), top.flatten(0, 1)
        repeated = before.expand(k, *before.shape).flatten(0, 1)
        states, _ = self.rnn(self._input(repeated, flat), self._start(flat))
        return self._code(states, flat).unflatten(0, (k, len(heard)))

    def _input(self, before: Tensor, top: Tensor) -> Tensor:
        """``[N, T, F]`` and ``[N, W]`` side by side, as far as they are heard."""
        parts = ([before] if self.heard else []) + [top[:, None].expand(-1, before.shape[1], -1)]
        return torch.cat(parts, -1)

    def _start(self, top: Tensor) -> Any:
        """The state before the first step; None where it is zero."""
        if self.first is None:
            return None
        states = torch.tanh(self.first(top)).unflatten(-1, (self.parts, self.rnn.num_layers, -1))
        parts = [part.transpose(0, 1).contiguous() for part in states.unbind(1)]  # [layers, N, H] each
        return tuple(parts) if self.parts == 2 else parts[0]

    def _code(self, states: Tensor, top: Tensor) -> Tensor:
        return torch.cat([self.dropout(states), top[:, None].expand(-1, states.shape[1], -1)], -1)

    def posterior_mean(self, features: tuple[Tensor, ...], context: Tensor | None, mask: Tensor | None) -> Tensor:
        """The mean of q(z|x), ``[B, D]``."""
        if self.sequence_latent.posterior is None:
            raise NotImplementedError("this model has no latent variable")
        return self.sequence_latent.posterior(features[-1].float()).mean

    def generate(self, n: int, context: Tensor | None, generation: vaezoo.Generation | None = None) -> Tensor:
        """Codes ``[n, T, H + D]`` with z from the prior, or from the posterior of a prefix."""
        assert generation is not None, "latents that go step by step are given a loop"
        if generation.prefix is None:
            return self._go(self.sequence_latent.generate(n, context, self.rnn.weight_ih_l0.device), generation)
        _, top = self.sequence_latent.infer(generation.prefix, context, 1)
        return self._go(top[0], generation)

    def code(self, z: Tensor, context: Tensor | None = None, generation: vaezoo.Generation | None = None) -> Tensor:
        """Codes ``[n, T, H + D]`` for a chosen z ``[n, D]``."""
        assert generation is not None, "latents that go step by step are given a loop"
        return self._go(self.sequence_latent.joined(z, context), generation)

    def _go(self, top: Tensor, generation: vaezoo.Generation) -> Tensor:
        """Step after step, each hearing what was drawn for the one before."""
        state, heard = self._start(top), top.new_zeros(len(top), 1, max(self.heard, 1))
        if generation.prefix is not None:
            given = generation.prefix[0].float()
            before = torch.cat([torch.zeros_like(given[:, :1]), given[:, :-1]], 1)
            _, state = self.rnn(self._input(before, top), state)
            heard = given[:, -1:]
        codes = []
        for _ in range(generation.steps):
            states, state = self.rnn(self._input(heard, top), state)
            codes.append(self._code(states, top))
            if self.heard:
                heard = generation.next_features(codes[-1])[0].float()
        return torch.cat(codes, 1)
