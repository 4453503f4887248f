"""Latent variables at every step, in one or several levels.

Shapes: K samples, B examples, N = K * B, T steps, L levels, F features per step, D latent
dimensions of a level, H units of its hidden state, W dimensions of the sequence code, C dimensions
of a step's code, U parent dimensions of a level (the sequence code and the latents of all higher
levels), G hidden features of a posterior network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor, nn

import vaezoo
from vaezoo.distributions import DiagonalNormal, LogScaleLimits, draw
from vaezoo_vrae.chain_state import ChainState, LatentSampler, StepSample
from vaezoo_vrae.level import Level, clocks_and_widths
from vaezoo_vrae.sequence_latent import SequenceLatent
from vaezoo_vrae.steps import PositiveInt, Probability, padding_mask, sequence_lengths


class Chain(vaezoo.Latents):
    """A latent vector at every step, conditional on higher levels and a recurrent state.

    With one level this is the VRNN (Chung et al. 2015), with several the hierarchical HVRNN
    (Castrejon et al. 2019). Level l, counted from the top, has the prior p(z_t | z_t of higher
    levels, h_{t-1}) and the posterior q(z_t | z_t of higher levels, h_{t-1}, data). The data are
    the states of the encoder's recurrent network, if it has one (backward states give a smoothing
    posterior), else its features of step t. A level with clock k draws a new z at every k-th step,
    holds it in between, and updates its state with the mean features of these k steps. The code of
    step t contains all z_t and h_{t-1}. ``sequence_dim`` adds one z above all levels, for the
    whole sequence, inferred from the encoder's last states, with the prior of the spec; the other
    priors are learned.

    Args:
        levels: L, the number of levels.
        clocks: number of steps between two updates, for each level; 1 for all if empty.
        widths: D of each level; ``latent_dim`` for all if empty. A level of width 0 is omitted.
        units: H, the size of the state of each level's GRU.
        hidden: width of the prior and posterior networks.
        sequence_dim: dimensions of the z above all levels; 0 for none.
        skip: add the features of step t - 1 to the code of step t.
        dropout: dropout probability in these networks, and in the code except its latent
            variables.
        minimum, maximum: the limits of log sigma of the levels' priors, as in the posterior
            ``diagonal-normal``; null, as in v1 specs, sets no limit.
    """

    stepwise = True
    conditional = True

    def __init__(
        self,
        wiring: vaezoo.LatentsWiring,
        /,
        *,
        levels: PositiveInt = 1,
        clocks: Sequence[PositiveInt] = (),
        widths: Sequence[Annotated[int, Ge(0)]] = (),
        units: PositiveInt = 200,
        hidden: PositiveInt = 200,
        sequence_dim: Annotated[int, Ge(0)] = 0,
        skip: bool = False,
        dropout: Probability = 0.0,
        minimum: Annotated[float | None, vaezoo.BeforeV2(None)] = -5.0,
        maximum: Annotated[float | None, vaezoo.BeforeV2(None)] = 20.0,
    ) -> None:
        super().__init__()
        feature_shapes = wiring.feature_shapes
        self.clocks, self.widths = clocks_and_widths(levels, clocks, widths, wiring.latent_dim)
        if len(feature_shapes) == 1 and max(self.clocks) > 1:
            raise ValueError(
                "a clock above 1 needs an encoder with a recurrent network: set its cell, "
                "and its direction to backward or both"
            )
        self.sequence_latent = SequenceLatent(wiring, sequence_dim, "sequence")
        code_dim, count = self.sequence_latent.code_dim, len(self.widths)
        self.levels = nn.ModuleList(
            Level(
                input_size=feature_shapes[0][-1],
                posterior_input_size=feature_shapes[min(1, len(feature_shapes) - 1)][-1],
                parent_size=code_dim + sum(self.widths[:i]),
                latent_dim=width,
                units=units,
                hidden=hidden,
                dropout=dropout,
                prior_limits=LogScaleLimits(minimum, maximum),
                name=f"level-{i + 1}",
                wiring=wiring,
            )
            for i, width in enumerate(self.widths)
        )
        self.spaces = (*self.sequence_latent.spaces, *(level.space for level in self.levels))
        self.first = nn.Linear(code_dim, units * count) if code_dim else None
        self.units, self.skip, self.dropout = units, skip, nn.Dropout(dropout)

    def initial_state(self, sequence_code: Tensor) -> ChainState:
        """The state before the first step, from the sequence code ``[N, W]``."""
        n, count = len(sequence_code), len(self.widths)
        if self.first is None:
            hidden_states = sequence_code.new_zeros(n, count * self.units)
        else:
            hidden_states = torch.tanh(self.first(sequence_code))  # [N, L * H]
        latents = [sequence_code.new_zeros(n, width) for width in self.widths]
        return ChainState(sequence_code, list(hidden_states.chunk(count, -1)), latents)

    def step_latents(self, state: ChainState, sample_latent: LatentSampler) -> list[Tensor]:
        """Draws a new z for every level that is due at this step.

        Returns:
            The parts of the step's code: the hidden states ``[N, H]``, then the sequence code and
            all z, concatenated.
        """
        parents = state.sequence_code
        state.parent_latents = []
        for i, clock in enumerate(self.clocks):
            if state.step % clock == 0:
                state.latents[i] = sample_latent(
                    i, torch.cat([state.hidden_states[i], parents], -1)
                )
            parents = torch.cat([parents, state.latents[i]], -1)
            state.parent_latents.append(parents)
        return [*state.hidden_states, parents]

    def update_states(self, state: ChainState, step_inputs: Sequence[Tensor | None]) -> None:
        """Updates the hidden state of every level whose period ends at this step.

        Args:
            state: changed in place.
            step_inputs: for each level, ``h_data`` of its mean features since its last update,
                ``[N, 3H]``.
        """
        for i, clock in enumerate(self.clocks):
            step_input = step_inputs[i]
            if (state.step + 1) % clock == 0 and step_input is not None:
                state.hidden_states[i] = self.levels[i].update(
                    state.hidden_states[i], step_input, state.parent_latents[i]
                )
        state.step += 1

    def pooled_inputs(self, features: Tensor, k: int) -> list[list[Tensor | None]]:
        """For each step, the input of each level's update ``[N, 3H]``; None within its period.

        Args:
            features: of all steps, ``[B, T, F]``.
            k: number of samples, which share the inputs.
        """
        steps = features.shape[1]
        columns: list[list[Tensor | None]] = []  # for each level, its input at each step
        for level, clock in zip(self.levels, self.clocks, strict=True):
            periods = steps // clock
            pooled = (  # [B, periods, clock, F] -> its mean [B, periods, F]
                features[:, : periods * clock].unflatten(1, (periods, clock)).mean(2)
                if clock > 1
                else features
            )
            inputs = _repeat_samples(level.h_data(pooled.transpose(0, 1)), k)  # [periods, N, 3H]
            columns.append(
                [inputs[t // clock] if (t + 1) % clock == 0 else None for t in range(steps)]
            )
        return [[column[t] for column in columns] for t in range(steps)]

    def step_inputs(self, state: ChainState, features: Tensor) -> list[Tensor | None]:
        """The inputs of ``update_states`` after a single step.

        Args:
            state: collects the features until slow levels are due; changed in place.
            features: of this step, ``[N, F]``.
        """
        pending = features[:, None]  # [N, 1, F]
        if state.pending_inputs is not None:
            pending = torch.cat([state.pending_inputs, pending], 1)  # [N, steps, F]
        longest = max(self.clocks)
        state.pending_inputs = pending[:, -(longest - 1) :] if longest > 1 else None
        state.previous_features = features
        completed_steps = state.step + 1
        return [
            level.h_data(pending[:, -clock:].mean(1)) if completed_steps % clock == 0 else None
            for level, clock in zip(self.levels, self.clocks, strict=True)
        ]

    def posterior_inputs(self, features: tuple[Tensor, ...], k: int) -> list[Tensor]:
        """For each level, ``q_data`` of the data at all steps, ``[T, N, G]``."""
        states = features[min(1, len(features) - 1)].float().transpose(0, 1)  # [T, B, features]
        return [_repeat_samples(level.q_data(states), k) for level in self.levels]

    def infer(self, inference: vaezoo.Inference) -> tuple[tuple[vaezoo.Site, ...], Tensor]:
        """Draws K samples of q(z|x).

        Returns:
            The sites: z of the sequence, if there is one, then those of the levels, with z
            ``[K, B, T / clock, D]``; and the codes ``[K, B, T, C]``.
        """
        features, k = inference.features, inference.k
        sites, sequence_code = self.sequence_latent.infer(inference)
        flat_code = sequence_code.flatten(0, 1)  # [N, W]
        samples, code, _ = self._run_posterior(features, flat_code, k)
        lengths = sequence_lengths(inference.batch.mask, features[0])
        exists = padding_mask(lengths, features[0].shape[1])
        for i, clock in enumerate(self.clocks):
            sites += (self._site(i, samples[i], k, exists[:, ::clock]),)
        # [T, N, C] -> [T, K, B, C] -> [K, B, T, C]
        return sites, code.unflatten(1, (k, -1)).permute(1, 2, 0, 3)

    def _run_posterior(
        self, features: tuple[Tensor, ...], sequence_code: Tensor, k: int
    ) -> tuple[list[list[StepSample]], Tensor, ChainState]:
        """Runs all steps with z from the posterior.

        Args:
            features: of the encoder, ``[B, T, F]`` first.
            sequence_code: ``[N, W]``.
            k: number of samples.

        Returns:
            For each level, its samples at each step; the codes ``[T, N, C]``; the state after the
            last step.
        """
        state = self.initial_state(sequence_code)
        step_inputs = self.pooled_inputs(features[0].float(), k)
        posterior_inputs = self.posterior_inputs(features, k)
        samples: list[list[StepSample]] = [[] for _ in self.levels]

        def sample_posterior(i: int, state_and_parents: Tensor) -> Tensor:
            q = self.levels[i].posterior(state_and_parents, posterior_inputs[i][state.step])
            z = torch.addcmul(q.loc, torch.randn_like(q.loc), q.scale)
            samples[i].append((state_and_parents, q, z))
            return z

        codes = []
        for step in range(len(step_inputs)):
            codes.append(self.step_latents(state, sample_posterior))
            self.update_states(state, step_inputs[step])
        # hidden states [T, N, H], then latents [T, N, W + sum of D]
        parts = [torch.stack(part) for part in zip(*codes, strict=True)]
        step_features = _repeat_samples(features[0].float().transpose(0, 1), k)  # [T, N, F]
        return samples, self._code(parts, step_features), state

    def _code(self, parts: Sequence[Tensor], features: Tensor) -> Tensor:
        """The codes of all steps, ``[T, N, C]``.

        Args:
            parts: hidden states ``[T, N, H]``, then latents.
            features: of each step, ``[T, N, F]``, shifted by one step for ``skip``.
        """
        *hidden_states, latents = parts
        code = [*(self.dropout(hidden_state) for hidden_state in hidden_states), latents]
        if self.skip:
            code.append(self.dropout(torch.cat([torch.zeros_like(features[:1]), features[:-1]])))
        return torch.cat(code, -1)

    def _site(self, i: int, samples: Sequence[StepSample], k: int, mask: Tensor) -> vaezoo.Site:
        """The site of level i, from its samples at each step; T counts the steps of this level."""
        states_and_parents, posteriors, latents = zip(*samples, strict=True)

        def stack_steps(steps: Sequence[Tensor]) -> Tensor:
            # [T, N, *] -> [T, K, B, *] -> [K, B, T, *]
            return torch.stack(list(steps)).unflatten(1, (k, -1)).permute(1, 2, 0, 3)

        q = DiagonalNormal(
            stack_steps([q.loc for q in posteriors]),
            stack_steps([q.log_scale for q in posteriors]),
        )
        prior = self.levels[i].prior(stack_steps(states_and_parents))
        name, z = self.levels[i].space.name, stack_steps(latents)
        return vaezoo.Site(name, z, q, prior, mask=mask, stride=self.clocks[i])

    def generate(self, generation: vaezoo.Generation) -> Tensor:
        """Codes ``[n, T, C]`` with z from the prior; the data drawn for a step feed the next."""
        state = self._state_after_prefix(generation)

        def sample_prior(i: int, state_and_parents: Tensor) -> Tensor:
            p = self.levels[i].prior(state_and_parents)
            return draw(p, generation.prior_temperature)

        codes = []
        for _ in range(generation.steps):
            code = torch.cat(
                self.add_skip_features(self.step_latents(state, sample_prior), state), -1
            )
            codes.append(code)
            features = generation.next_features(code[:, None])[0][:, 0].float()  # [n, F]
            self.update_states(state, self.step_inputs(state, features))
        return torch.stack(codes, 1)  # [n, T, C]

    def add_skip_features(self, parts: list[Tensor], state: ChainState) -> list[Tensor]:
        """Adds the features of the previous step to a code's parts, if ``skip``; 0 at step 0."""
        if not self.skip:
            return parts
        features = state.previous_features
        if features is None:
            features = parts[0].new_zeros(len(parts[0]), self.levels[0].h_data.in_features)
        return [*parts, features]

    def _state_after_prefix(self, generation: vaezoo.Generation) -> ChainState:
        """The state before the first generated step; a prefix has latents from the posterior."""
        prefix = generation.prefix
        if prefix is None:
            return self.initial_state(self.sequence_latent.generate(generation))
        _, sequence_code = self.sequence_latent.infer(prefix)
        _, _, state = self._run_posterior(prefix.features, sequence_code[0], 1)
        features = prefix.features[0].float()
        state.previous_features = features[:, -1]
        pending = min(max(self.clocks) - 1, features.shape[1])
        state.pending_inputs = features[:, -pending:] if pending else None
        return state


def _repeat_samples(x: Tensor, k: int) -> Tensor:
    """Repeats ``[T, B, *]`` for each of k samples: ``[T, K * B, *]``."""
    return x if k == 1 else x.repeat(1, k, 1)
