"""A recurrent decoder from one latent vector: the variational recurrent autoencoder.

Shapes: K samples, B examples, N = any number of elements, T steps, F features per step, H units, D
latent dimensions, W dimensions of the sequence code (z and context), C = H + W dimensions of a
step's code.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

import vaezoo
from vaezoo_vrae.sequence_latent import SequenceLatent
from vaezoo_vrae.steps import CELLS, Cell, PositiveInt, Probability


class Recurrent(vaezoo.Latents):
    """One latent vector z for the whole sequence; a recurrent network generates the steps.

    Fabius & van Amersfoort 2014. z determines the initial state and is an input of every step,
    together with the previous step (as the encoder's features of it). The code of step t is the
    state before x_t, and z. No latent variable is drawn within the recurrence, so one fused kernel
    computes all steps. With ``latent: false`` this is a plain recurrent network, which has an
    exact likelihood; the rate is then 0, and ``kl`` has no effect.

    Args:
        cell: ``gru``, ``lstm`` or ``rnn``.
        units: width of the state.
        layers: number of stacked recurrent layers.
        teacher_forcing: whether the previous step is an input: the data in training, the model's
            own draw in generation.
        word_dropout: probability of hiding an input step in training, so that z has to encode it
            (Bowman et al. 2016).
        dropout: dropout probability for the state within the code.
        latent: whether there is a z.
    """

    stepwise = True
    conditional = True

    def __init__(
        self,
        wiring: vaezoo.LatentsWiring,
        /,
        *,
        cell: Cell = "gru",
        units: PositiveInt = 256,
        layers: PositiveInt = 1,
        teacher_forcing: bool = True,
        word_dropout: Probability = 0.0,
        dropout: Probability = 0.0,
        latent: bool = True,
    ) -> None:
        super().__init__()
        if word_dropout and not teacher_forcing:
            raise ValueError("word_dropout needs teacher_forcing: without it no step is an input")
        if not latent and not teacher_forcing:
            raise ValueError(
                "latent: false needs teacher_forcing: without both, no input depends on the data"
            )
        self.sequence_latent = SequenceLatent(wiring, wiring.latent_dim if latent else 0)
        self.spaces, code_dim = self.sequence_latent.spaces, self.sequence_latent.code_dim
        self.step_features = wiring.feature_shapes[0][-1] if teacher_forcing else 0
        if not self.step_features + code_dim:
            raise ValueError("the recurrent network has no input")
        self.rnn = CELLS[cell](self.step_features + code_dim, units, layers, batch_first=True)
        self.num_states = 2 if cell == "lstm" else 1
        self.first = nn.Linear(code_dim, self.num_states * layers * units) if code_dim else None
        self.word_dropout, self.dropout = word_dropout, nn.Dropout(dropout)

    def infer(self, inference: vaezoo.Inference) -> tuple[tuple[vaezoo.Site, ...], Tensor]:
        """Draws K samples of q(z|x): the site of z, if any, and codes ``[K, B, T, C]``."""
        sites, sequence_code = self.sequence_latent.infer(inference)
        return sites, self.codes(inference.features[0].float(), sequence_code)

    def codes(self, features: Tensor, sequence_code: Tensor) -> Tensor:
        """Codes ``[K, B, T, C]`` of sequences, each step with the previous one as its input.

        Args:
            features: of each step, ``[B, T, F]``.
            sequence_code: ``[K, B, W]``.
        """
        previous = torch.cat(
            [features.new_zeros(len(features), 1, features.shape[2]), features[:, :-1]], 1
        )
        if self.training and self.word_dropout:
            noise = torch.rand(previous.shape[:2], device=previous.device)  # [B, T]
            previous = previous * (noise >= self.word_dropout)[..., None]
        k, flat_code = len(sequence_code), sequence_code.flatten(0, 1)  # [K * B, W]
        # [B, T, F] -> [K, B, T, F] -> [K * B, T, F]
        repeated = previous.expand(k, *previous.shape).flatten(0, 1)
        states, _ = self.rnn(self._rnn_input(repeated, flat_code), self._initial_state(flat_code))
        return self._code(states, flat_code).unflatten(0, (k, len(features)))  # [K, B, T, C]

    def _rnn_input(self, previous: Tensor, sequence_code: Tensor) -> Tensor:
        """Previous steps ``[N, T, F]``, if they are inputs, and sequence codes ``[N, W]``."""
        parts = [previous] if self.step_features else []
        parts.append(sequence_code[:, None].expand(-1, previous.shape[1], -1))  # [N, T, W]
        return torch.cat(parts, -1)

    def _initial_state(self, sequence_code: Tensor) -> Any:
        """The state before the first step, in the form that the network takes; None for zeros."""
        if self.first is None:
            return None
        shape = (self.num_states, self.rnn.num_layers, -1)
        # [N, states, layers, H], then for each state [layers, N, H]
        states = torch.tanh(self.first(sequence_code)).unflatten(-1, shape)
        parts = [part.transpose(0, 1).contiguous() for part in states.unbind(1)]
        return tuple(parts) if self.num_states == 2 else parts[0]

    def _code(self, states: Tensor, sequence_code: Tensor) -> Tensor:
        """The codes ``[N, T, C]`` of steps with these states ``[N, T, H]``."""
        repeated = sequence_code[:, None].expand(-1, states.shape[1], -1)  # [N, T, W]
        return torch.cat([self.dropout(states), repeated], -1)

    def posterior_mean(self, inference: vaezoo.Inference) -> Tensor:
        """The mean of q(z|x), ``[B, D]``."""
        if self.sequence_latent.posterior is None:
            raise NotImplementedError("this model has no latent variable")
        return self.sequence_latent.posterior(inference.features[-1].float()).mean

    def generate(self, generation: vaezoo.Generation) -> Tensor:
        """Codes ``[n, T, C]`` with z from the prior, or from the posterior of a prefix."""
        if generation.prefix is None:
            return self._generate_steps(self.sequence_latent.generate(generation), generation)
        _, sequence_code = self.sequence_latent.infer(generation.prefix)
        return self._generate_steps(sequence_code[0], generation)

    def code(self, z: Tensor, generation: vaezoo.Generation) -> Tensor:
        """Codes ``[n, T, C]`` for latent vectors z ``[n, D]``."""
        sequence_code = self.sequence_latent.concat_context(z, generation.prior_context)
        return self._generate_steps(sequence_code, generation)

    def _generate_steps(self, sequence_code: Tensor, generation: vaezoo.Generation) -> Tensor:
        """Codes ``[n, T, C]``; the data drawn for a step are the input of the next."""
        state = self._initial_state(sequence_code)
        previous = sequence_code.new_zeros(len(sequence_code), 1, max(self.step_features, 1))
        if generation.prefix is not None:
            prefix = generation.prefix.features[0].float()
            shifted = torch.cat([torch.zeros_like(prefix[:, :1]), prefix[:, :-1]], 1)
            _, state = self.rnn(self._rnn_input(shifted, sequence_code), state)
            previous = prefix[:, -1:]
        codes = []
        for _ in range(generation.steps):
            states, state = self.rnn(self._rnn_input(previous, sequence_code), state)
            codes.append(self._code(states, sequence_code))
            if self.step_features:
                previous = generation.next_features(codes[-1])[0].float()
        return torch.cat(codes, 1)
