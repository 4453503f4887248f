"""A diffusion model as the prior of a latent variable; its density is known by a bound only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any

import torch
from annotated_types import Gt
from torch import Tensor, nn
from torch.distributions import Distribution

import vaezoo
from vaezoo.nn import mlp


class DiffusionPrior(vaezoo.Prior):
    """A denoising diffusion model of z (Ho et al. 2020), as in latent score-based models.

    At initialisation its denoiser is the exact one of N(0, I), and the bound is exact too.

    Args:
        steps: T, the number of diffusion steps.
        hidden: the widths of the denoiser's layers.
    """

    conditional = True

    def __init__(
        self,
        wiring: vaezoo.PriorWiring,
        /,
        *,
        steps: Annotated[int, Gt(1)] = 20,
        hidden: Sequence[Annotated[int, Gt(0)]] = (128,),
    ) -> None:
        super().__init__()
        self.shape, dims = wiring.space.shape, wiring.space.dimensions
        self.net = nn.Sequential(
            mlp(dims + 1 + wiring.context_dim, hidden), nn.Linear(hidden[-1], dims)
        )
        nn.init.zeros_(self.net[1].weight)
        nn.init.zeros_(self.net[1].bias)
        share = torch.arange(steps + 1) / steps  # cosine schedule (Nichol & Dhariwal 2021)
        signal = torch.cos(0.98 * share * math.pi / 2).square()  # 1 at step 0, 0.001 at T
        self.register_buffer("signal", signal, persistent=False)

    def denoise(self, z: Tensor, t: Tensor, context: Tensor | None) -> Tensor:
        """The noise in ``z`` ``[*, D]`` at steps ``t`` ``[*]``; contexts are ``[B, E]``."""
        signal = self.get_buffer("signal")[t][..., None]  # [*, 1]
        parts = [z, signal]
        if context is not None:
            parts.append(context.expand(*z.shape[:-1], -1))  # [*, E]
        return (1 - signal).sqrt() * z + self.net(torch.cat(parts, -1))

    def forward(self, context: Tensor | None, model: vaezoo.GenerativeModel) -> Distribution:
        """The diffusion model, or one for each context ``[B, E]``."""
        return Diffusion(self, None if context is None else context.float())


class Diffusion(Distribution):
    """The distribution of a ``DiffusionPrior``; ``log_prob`` estimates a lower bound.

    Shapes: ``*`` leading dimensions, T steps, D scalars of a value.
    """

    arg_constraints: dict[str, Any] = {}
    density = "bound"

    def __init__(self, prior: DiffusionPrior, context: Tensor | None) -> None:
        self.prior, self.context = prior, context
        batch_shape = torch.Size() if context is None else context.shape[:-1]
        super().__init__(batch_shape, torch.Size(prior.shape), validate_args=False)

    def _step(self, t: Tensor, z_t: Tensor) -> tuple[Tensor, Tensor]:
        """Mean ``[*, D]`` and variance ``[*, 1]`` of p(z_{t-1} | z_t)."""
        signal = self.prior.get_buffer("signal")
        now, before = signal[t][..., None], signal[t - 1][..., None]
        noise = self.prior.denoise(z_t, t, self.context)
        z_0 = (z_t - (1 - now).sqrt() * noise) / now.sqrt()
        mean, _ = _posterior(z_0, z_t, now, before)
        return mean, 1 - now / before

    def log_prob(self, value: Tensor) -> Tensor:
        """An unbiased estimate of the bound of Ho et al. 2020, eq. 5, in nats, ``[*]``."""
        signal = self.prior.get_buffer("signal")
        z = value.flatten(-len(self.event_shape))  # [*, D]
        t = torch.arange(1, len(signal), device=z.device).reshape(-1, *(1,) * (z.dim() - 1))
        t = t.expand(-1, *z.shape[:-1])  # [T, *]
        now, before = signal[t][..., None], signal[t - 1][..., None]
        noise = torch.randn(*t.shape, z.shape[-1], device=z.device)
        z_t = now.sqrt() * z + (1 - now).sqrt() * noise
        p_mean, p_variance = self._step(t, z_t)
        q_mean, q_variance = _posterior(z, z_t, now, before)
        ratio = (q_variance / p_variance)[1:]  # [T - 1, *, 1]
        shift = ((q_mean - p_mean).square() / p_variance)[1:]
        kl = 0.5 * (shift + ratio - 1 - ratio.log()).sum(-1).sum(0)
        first = _log_normal(z, p_mean[0], p_variance[0])  # log p(z_0 | z_1)
        rest = signal[-1]
        last = 0.5 * (rest * z.square() - rest - (1 - rest).log()).sum(-1)  # KL(q(z_T) || N)
        return first - kl - last

    @torch.no_grad()
    def sample(
        self,
        sample_shape: torch.Size = torch.Size(),
    ) -> Tensor:
        """Runs all steps, ``[*sample_shape, *, *event]``."""
        shape = (*sample_shape, *self.batch_shape)
        signal = self.prior.get_buffer("signal")
        z = torch.randn(*shape, self.event_shape.numel(), device=signal.device)
        for step in range(len(signal) - 1, 0, -1):
            t = torch.full(shape, step, device=signal.device)
            mean, variance = self._step(t, z)
            z = mean + variance.sqrt() * torch.randn_like(z)
        return z.unflatten(-1, self.event_shape)


def _posterior(z_0: Tensor, z_t: Tensor, now: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of q(z_{t-1} | z_t, z_0), for the signal's variance at t and t-1."""
    step = now / before
    mean = (before.sqrt() * (1 - step) * z_0 + step.sqrt() * (1 - before) * z_t) / (1 - now)
    return mean, (1 - before) * (1 - step) / (1 - now)


def _log_normal(value: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    squares = (value - mean).square() / variance
    return -0.5 * (squares + variance.log() + math.log(2 * math.pi)).sum(-1)
