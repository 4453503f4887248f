"""Latent variables at every step, in one level or several.

Shapes: K samples, B examples, N = K · B, T steps, L levels; D dimensions of one level's z, H units of its state.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor, nn

import vaezoo
from vaezoo.distributions import DiagonalNormal
from vaezoo_vrae.level import Level
from vaezoo_vrae.sequence_latent import SequenceLatent
from vaezoo_vrae.steps import Share, Width, lengths, padding_mask

Choose = Callable[[int, Tensor], Tensor]
"""From a level's number and what it knows ``[N, H + U]`` to its z ``[N, D]``."""


@dataclass
class State:
    """Where a chain stands: the states and latents of its levels, and the features that slow levels gather."""

    top: Tensor
    h: list[Tensor]
    z: list[Tensor]
    parent_latents: list[Tensor] = field(default_factory=list)
    pending_inputs: Tensor | None = None
    previous_features: Tensor | None = None
    step: int = 0

    def select(self, index: Tensor) -> None:
        """Keeps the elements at ``index`` ``[N]``, some perhaps more than once."""
        self.top = self.top[index]
        self.h, self.z = [h[index] for h in self.h], [z[index] for z in self.z]


class Chain(vaezoo.Latents):
    """A latent vector at every step, given those above it and a recurrent state: VRNN (Chung et al. 2015) with one
    level, the hierarchical HVRNN with several (Castrejon et al. 2019).

    Level l, counted from the top, has p(z_t | z_t above, h_{t-1}) and q(z_t | z_t above, h_{t-1}, data), where the data
    are the encoder's states if it has a recurrent network (backward ones smooth), else its features of step t. A level
    with clock k draws a z at every k-th step, holds it in between, and hears the mean of each k steps. The code of step
    t is all z_t and h_{t-1}. ``sequence_dim`` adds one z above all levels, for the whole sequence, from the encoder's last
    states, with the spec's own prior; the other priors are learned.

    Args:
        levels: L. A bare number of levels that tick at every step.
        clocks: the clock of each level; 1 for all where it is empty.
        widths: D of each level; ``latent_dim`` for all where it is empty. A level of width 0 does not exist.
        units: H.
        hidden: the width of the networks of prior and posterior.
        sequence_dim: the width of the z above all levels; 0 for none.
        skip: put the features of step t - 1 into the code of step t.
        dropout: the share of units dropped while training, in these networks and in the code, but none of a z.
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
        levels: Width = 1,
        clocks: Sequence[Width] = (),
        widths: Sequence[Annotated[int, Ge(0)]] = (),
        units: Width = 200,
        hidden: Width = 200,
        sequence_dim: Annotated[int, Ge(0)] = 0,
        skip: bool = False,
        dropout: Share = 0.0,
    ) -> None:
        super().__init__()
        found = _levels(levels, clocks, widths, latent_dim)
        self.clocks, self.widths = [clock for clock, _ in found], [width for _, width in found]
        if len(feature_shapes) == 1 and max(self.clocks) > 1:
            raise ValueError("a clock above 1 needs an encoder that sees ahead: give it a backward network")
        heard, seen = feature_shapes[0][-1], feature_shapes[min(1, len(feature_shapes) - 1)][-1]
        self.sequence_latent = SequenceLatent(feature_shapes, sequence_dim, posterior, prior, context_dim)
        above = [self.sequence_latent.width + sum(self.widths[:i]) for i in range(len(found))]
        self.levels = nn.ModuleList(
            Level(heard, seen, u, width, units, hidden, dropout, posterior)
            for u, width in zip(above, self.widths, strict=True)
        )
        self.first = nn.Linear(self.sequence_latent.width, units * len(found)) if self.sequence_latent.width else None
        self.units, self.skip, self.dropout = units, skip, nn.Dropout(dropout)

    def begin(self, top: Tensor) -> State:
        """The state before the first step, from what stands above all steps ``[N, W]``."""
        n, count = len(top), len(self.widths)
        first = top.new_zeros(n, count * self.units) if self.first is None else torch.tanh(self.first(top))
        return State(top, list(first.chunk(count, -1)), [top.new_zeros(n, width) for width in self.widths])

    def step_latents(self, state: State, choose: Choose) -> list[Tensor]:
        """Lets every level whose clock ticks choose its z; the code of the step in parts, states first."""
        above = state.top
        state.parent_latents = []
        for i, clock in enumerate(self.clocks):
            if state.step % clock == 0:
                state.z[i] = choose(i, torch.cat([state.h[i], above], -1))
            above = torch.cat([above, state.z[i]], -1)
            state.parent_latents.append(above)
        return [*state.h, above]

    def update_states(self, state: State, heard: Sequence[Tensor | None]) -> None:
        """Moves every level at the end of its beat, by what its ``h_data`` made of the steps since the last."""
        for i, clock in enumerate(self.clocks):
            data = heard[i]
            if (state.step + 1) % clock == 0 and data is not None:
                state.h[i] = self.levels[i].update(state.h[i], data, state.parent_latents[i])
        state.step += 1

    def pooled_inputs(self, features: Tensor, k: int) -> list[list[Tensor | None]]:
        """For each step, what each level hears at its end: ``[N, 3H]``, or None where its beat goes on.

        Args:
            features: of all steps, ``[B, T, F]``.
            k: samples, which all hear the same.
        """
        steps = features.shape[1]
        columns: list[list[Tensor | None]] = []
        for level, clock in zip(self.levels, self.clocks, strict=True):
            beats = steps // clock
            pooled = features[:, : beats * clock].unflatten(1, (beats, clock)).mean(2) if clock > 1 else features
            made = _repeated(level.h_data(pooled.transpose(0, 1)), k)
            columns.append([made[t // clock] if (t + 1) % clock == 0 else None for t in range(steps)])
        return [[column[t] for column in columns] for t in range(steps)]

    def step_inputs(self, state: State, features: Tensor) -> list[Tensor | None]:
        """The same for one step alone, ``[N, F]``, gathering what slow levels have not heard yet."""
        kept = (
            features[:, None]
            if state.pending_inputs is None
            else torch.cat([state.pending_inputs, features[:, None]], 1)
        )
        state.pending_inputs = kept[:, -(max(self.clocks) - 1) :] if max(self.clocks) > 1 else None
        state.previous_features = features
        done = state.step + 1
        return [
            level.h_data(kept[:, -clock:].mean(1)) if done % clock == 0 else None
            for level, clock in zip(self.levels, self.clocks, strict=True)
        ]

    def posterior_inputs(self, features: tuple[Tensor, ...], k: int) -> list[Tensor]:
        """What each level's posterior makes of the data, ``[T, N, P]``."""
        states = features[min(1, len(features) - 1)].float().transpose(0, 1)
        return [_repeated(level.q_data(states), k) for level in self.levels]

    def infer(
        self, features: tuple[Tensor, ...], context: Tensor | None, mask: Tensor | None, k: int
    ) -> tuple[tuple[vaezoo.Site, ...], Tensor]:
        """The site of the whole sequence, if any, those of the levels ``[K, B, T / clock, D]``, and the code."""
        sites, top = self.sequence_latent.infer(features, context, k)
        drawn, code, _ = self._walk(features, top.flatten(0, 1), k)
        exists = padding_mask(lengths(mask, features[0]), features[0].shape[1])
        for i, clock in enumerate(self.clocks):
            sites += (self._site(i, drawn[i], k, exists[:, ::clock]),)
        return sites, code.unflatten(1, (k, -1)).permute(1, 2, 0, 3)

    def _walk(
        self, features: tuple[Tensor, ...], top: Tensor, k: int
    ) -> tuple[list[list[tuple[Tensor, DiagonalNormal, Tensor]]], Tensor, State]:
        """All steps, z from the posterior: what each level knew, its q and its z; the code ``[T, N, C]``; the end."""
        state, heard, seen = (
            self.begin(top),
            self.pooled_inputs(features[0].float(), k),
            self.posterior_inputs(features, k),
        )
        drawn: list[list[tuple[Tensor, DiagonalNormal, Tensor]]] = [[] for _ in self.levels]

        def choose(i: int, known: Tensor) -> Tensor:
            q = self.levels[i].posterior(known, seen[i][state.step])
            z = torch.addcmul(q.loc, torch.randn_like(q.loc), q.scale)
            drawn[i].append((known, q, z))
            return z

        codes = []
        for step in range(len(heard)):
            codes.append(self.step_latents(state, choose))
            self.update_states(state, heard[step])
        parts = [torch.stack(part) for part in zip(*codes, strict=True)]
        return drawn, self._code(parts, _repeated(features[0].float().transpose(0, 1), k)), state

    def _code(self, parts: Sequence[Tensor], features: Tensor) -> Tensor:
        """The code of steps ``[T, N, C]`` with the features of the step before each."""
        *states, latent = parts
        kept = [*(self.dropout(state) for state in states), latent]
        if self.skip:
            kept.append(self.dropout(torch.cat([torch.zeros_like(features[:1]), features[:-1]])))
        return torch.cat(kept, -1)

    def _site(
        self, i: int, drawn: Sequence[tuple[Tensor, DiagonalNormal, Tensor]], k: int, mask: Tensor
    ) -> vaezoo.Site:
        known, qs, zs = zip(*drawn, strict=True)

        def shaped(steps: Sequence[Tensor]) -> Tensor:
            return torch.stack(list(steps)).unflatten(1, (k, -1)).permute(1, 2, 0, 3)

        q = DiagonalNormal(shaped([q.loc for q in qs]), shaped([q.log_scale for q in qs]))
        return vaezoo.Site(shaped(zs), q, self.levels[i].prior(shaped(known)), mask, self.clocks[i])

    def posterior_mean(self, features: tuple[Tensor, ...], context: Tensor | None, mask: Tensor | None) -> Tensor:
        """The posterior means of the whole and of each level, these averaged over the steps that exist, ``[B, D']``."""
        sites, _ = self.infer(features, context, mask, 1)
        means = []
        for site in sites:
            mean = site.q.mean if site.mask is None else site.q.mean[0]
            if site.mask is not None:
                weight = site.mask / site.mask.sum(1, keepdim=True)
                mean = (mean * weight[..., None]).sum(1)
            means.append(mean)
        return torch.cat(means, -1)

    def generate(self, n: int, context: Tensor | None, generation: vaezoo.Generation | None = None) -> Tensor:
        """Codes ``[n, T, C]``, each step hearing what was drawn for the one before."""
        assert generation is not None, "latents that go step by step are given a loop"
        state = self._after(n, context, generation.prefix)

        def choose(i: int, known: Tensor) -> Tensor:
            return self.levels[i].prior(known).sample()

        codes = []
        for _ in range(generation.steps):
            code = torch.cat(self.with_skip(self.step_latents(state, choose), state), -1)
            codes.append(code)
            self.update_states(state, self.step_inputs(state, generation.next_features(code[:, None])[0][:, 0].float()))
        return torch.stack(codes, 1)

    def with_skip(self, parts: list[Tensor], state: State) -> list[Tensor]:
        """The parts of one step's code with the features of the step before, zero before the first."""
        if not self.skip:
            return parts
        width = self.levels[0].h_data.in_features
        return [
            *parts,
            parts[0].new_zeros(len(parts[0]), width) if state.previous_features is None else state.previous_features,
        ]

    def _after(self, n: int, context: Tensor | None, prefix: tuple[Tensor, ...] | None) -> State:
        """The state before the first step, or after those of a prefix, with its latents from their posterior."""
        if prefix is None:
            return self.begin(self.sequence_latent.generate(n, context, self.levels[0].p_out.weight.device))
        _, top = self.sequence_latent.infer(prefix, context, 1)
        _, _, state = self._walk(prefix, top[0], 1)
        features = prefix[0].float()
        state.previous_features = features[:, -1]
        waiting = min(max(self.clocks) - 1, features.shape[1])
        state.pending_inputs = features[:, -waiting:] if waiting else None
        return state


def _repeated(made: Tensor, k: int) -> Tensor:
    """``[T, B, *]`` for each of k samples, ``[T, K · B, *]``."""
    return made if k == 1 else made.repeat(1, k, 1)


def _levels(levels: int, clocks: Sequence[int], widths: Sequence[int], latent_dim: int) -> list[tuple[int, int]]:
    """The clock and width of each level that exists."""
    for name, given in (("clocks", clocks), ("widths", widths)):
        if given and len(given) != levels:
            raise ValueError(f"{name} must have one number for each of the {levels} levels, not {len(given)}")
    pairs = zip(clocks or [1] * levels, widths or [latent_dim] * levels, strict=True)
    found = [(clock, width) for clock, width in pairs if width]
    if not found:
        raise ValueError("every level has width 0; latents: recurrent has no z at steps")
    return found
