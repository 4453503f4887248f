"""Adversarial matching of the posterior to the prior: a critic on z, and the penalty it defines.

Shapes: K samples, B examples, D dimensions of a latent variable, E of the context; T steps where a
latent variable is a sequence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Literal, Self, TypeAlias

import torch
import torch.nn.functional as F
from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn
from torch.nn.utils import parametrizations

import vaezoo
from vaezoo.nn import masked

Loss: TypeAlias = Literal["non-saturating", "least-squares", "wasserstein-gp"]
Width = Annotated[int, Gt(0)]


class Critic(nn.Module):
    """An MLP from a latent variable, and its context if there is one, to one logit.

    It has no batch normalisation, so the logit of an example does not depend on the other
    examples.

    Args:
        in_features: D + E.
        hidden: the width of each hidden layer.
        slope: the slope of the leaky ReLU below 0.
        dropout: the share of hidden units that are dropped in training.
        spectral_norm: whether to divide each layer's weights by their largest singular value.
    """

    def __init__(
        self,
        in_features: int,
        hidden: Sequence[int],
        *,
        slope: float,
        dropout: float,
        spectral_norm: bool,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width in hidden:
            layers += [_linear(in_features, width, spectral_norm), nn.LeakyReLU(slope)]
            if dropout:
                layers.append(nn.Dropout(dropout))
            in_features = width
        self.net = nn.Sequential(*layers, _linear(in_features, 1, spectral_norm))

    def forward(self, z: Tensor, context: Tensor | None) -> Tensor:
        """Computes logits.

        Args:
            z: ``[K, B, D]``, or ``[K, B, T, D]`` for a sequence.
            context: ``[B, E]``, or None.

        Returns:
            ``[K, B]``, or ``[K, B, T]`` for a sequence.
        """
        if context is not None:
            step_dims = (1,) * (z.dim() - 3)
            context = context.unflatten(0, (len(context), *step_dims))  # [B, E] or [B, 1, E]
            context = context.expand(*z.shape[:-1], -1)  # [K, B, E] or [K, B, T, E]
            z = torch.cat([z, context], -1)
        return self.net(z).squeeze(-1)


def _linear(in_features: int, out_features: int, spectral_norm: bool) -> nn.Module:
    linear = nn.Linear(in_features, out_features)
    return parametrizations.spectral_norm(linear) if spectral_norm else linear


def critic_loss(loss: Loss, real: Tensor, fake: Tensor, smoothing: float = 0.0) -> Tensor:
    """The loss that a critic minimises, elementwise.

    Non-saturating: cross-entropy in nats (Goodfellow et al. 2014), with the target 1 -
    ``smoothing`` for real samples. Least-squares: Mao et al. 2017, eq. 9, with the targets 1 -
    ``smoothing`` and 0. Wasserstein: Arjovsky et al. 2017.

    Args:
        loss: which of the three.
        real: logits of samples of the prior.
        fake: logits of samples of the posterior.
        smoothing: how far the target of real samples lies below 1.
    """
    if loss == "non-saturating":
        return F.softplus(-real) + smoothing * real + F.softplus(fake)
    if loss == "least-squares":
        return 0.5 * ((real - (1 - smoothing)).square() + fake.square())
    return fake - real


def generator_loss(loss: Loss, fake: Tensor) -> Tensor:
    """The loss that the encoder minimises at the logits of posterior samples, elementwise."""
    if loss == "non-saturating":
        return F.softplus(-fake)
    return 0.5 * (fake - 1).square() if loss == "least-squares" else -fake


def gradient_penalty(critic: Critic, real: Tensor, fake: Tensor, context: Tensor | None) -> Tensor:
    """(‖∇_z critic‖ - 1)² at a random point between paired samples (Gulrajani et al. 2017).

    Returns:
        ``[K, B]``, or ``[K, B, T]`` for a sequence.
    """
    share = torch.rand(*real.shape[:-1], 1, dtype=real.dtype, device=real.device)
    between = torch.lerp(real, fake, share).requires_grad_()  # [K, B, D] or [K, B, T, D]
    logits = critic(between, context)
    (gradient,) = torch.autograd.grad(logits.sum(), between, create_graph=True)
    return (gradient.norm(dim=-1) - 1).square()


class Adversarial(vaezoo.Regularizer):
    """Matches the aggregate posterior to the prior by a critic on z (Makhzani et al. 2016).

    It needs samples of posterior and prior, but no densities, so it can replace ``kl``. Each
    latent variable has its own critic, trained on samples of that variable's prior and posterior
    in a phase after the model's. A sequence is scored at each step, and its losses are summed over
    the steps that exist. In a conditional model the critics see the context too: the aggregate
    posterior of each context is matched to the prior. So a label is either used by the prior or
    removed from z.

    Critics use dropout, and update their spectral norms, in their own phase only. All phases use
    the optimizer of ``train``; critics train best with little momentum (adam with betas 0.5 and
    0.999).

    Args:
        weight: the weight of the penalty. Against a distortion that is summed over all pixels,
            about 10; for ``wasserstein-gp`` about 1, as its gradient does not vanish (with a
            gradient penalty of 1, for example).
        loss: ``non-saturating``, ``least-squares`` or ``wasserstein-gp``.
        hidden: the width of each hidden layer of a critic.
        slope: the slope of the leaky ReLU below 0.
        dropout: the share of a critic's hidden units that are dropped while it is trained.
        spectral_norm: divide each layer's weights by their largest singular value (Miyato et al.
            2018).
        noise: the standard deviation of normal noise that is added to all inputs of critics in
            training (Sonderby et al. 2017). Without it, a critic tells a one-hot vector from a
            softmax by its exact zeros and ones, and some categories are never used.
        smoothing: how far the target of real samples lies below 1 (Salimans et al. 2016); not for
            ``wasserstein-gp``.
        gradient_penalty: the weight of (‖gradient‖ - 1)², for ``wasserstein-gp`` only.
        site: which latent variable, counted from 0 in the order of generation; -1 for all, each
            with its own critic.
    """

    has_score = True

    def __init__(
        self,
        wiring: vaezoo.TaskWiring,
        /,
        *,
        weight: float | vaezoo.Schedule = 1.0,
        loss: Loss = "non-saturating",
        hidden: Sequence[Width] = (256, 256),
        slope: Annotated[float, Ge(0), Lt(1)] = 0.2,
        dropout: Annotated[float, Ge(0), Lt(1)] = 0.0,
        spectral_norm: bool = False,
        noise: Annotated[float, Ge(0)] = 0.0,
        smoothing: Annotated[float, Ge(0), Lt(0.5)] = 0.0,
        gradient_penalty: Annotated[float, Gt(0)] = 10.0,
        site: Annotated[int, Ge(-1)] = -1,
    ) -> None:
        super().__init__(weight)
        if not isinstance(weight, vaezoo.Schedule) and weight < 0:
            reason = "would make the encoder help the critic; it must be at least 0"
            raise ValueError(f"weight {weight:g} {reason}")
        if loss == "wasserstein-gp" and smoothing:
            raise ValueError("smoothing is for losses with targets; wasserstein-gp has none")
        if site >= len(wiring.spaces):
            raise ValueError(f"site: there is no latent variable {site}; they are counted from 0")
        self.loss, self.noise, self.smoothing = loss, noise, smoothing
        self.gradient_weight, self.site = gradient_penalty, site
        spaces = wiring.spaces if site < 0 else wiring.spaces[site : site + 1]
        self.critics = nn.ModuleList(
            Critic(
                space.dimensions + wiring.context_dim,
                hidden,
                slope=slope,
                dropout=dropout,
                spectral_norm=spectral_norm,
            )
            for space in spaces
        )
        self.critics.eval()

    def train(self, mode: bool = True) -> Self:
        """Sets the mode, except that critics are in training mode in their own phase only."""
        super().train(mode)
        self.critics.eval()
        return self

    def forward(self, trace: vaezoo.Trace) -> Tensor:
        """The encoder's loss ``[B]``, averaged over samples and summed over latent variables."""
        return self._sum_over_sites(trace, lambda logits: generator_loss(self.loss, logits))

    def score(self, trace: vaezoo.Trace) -> Tensor:
        """The critics' negated logits ``[B]``, averaged over samples and summed over variables."""
        return self._sum_over_sites(trace, lambda logits: -logits)

    def _sum_over_sites(self, trace: vaezoo.Trace, function: Callable[[Tensor], Tensor]) -> Tensor:
        """Applies ``function`` to each critic's logits and reduces the results to ``[B]``.

        They are averaged over samples and summed over steps and latent variables.
        """
        context = _context(trace)
        site_logits = [
            (site, critic(self._critic_input(site, site.z), context))
            for critic, site in self._critic_sites(trace)
        ]
        values = [
            trace.mean(_sum_over_steps(function(logits), site)) for site, logits in site_logits
        ]
        return torch.stack(values).sum(0)

    def phases(self) -> Sequence[vaezoo.Phase]:
        """One phase, which trains the critics."""
        name = "critic" if self.site < 0 else f"critic-{self.site}"
        return (vaezoo.Phase(name, self.critics, self._phase_loss),)

    def _phase_loss(
        self, model: vaezoo.GenerativeModel, batch: vaezoo.Batch
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The critics' loss ``[B]``, and the mean logits of real and fake samples ``[B]``."""
        trace = model.infer_detached(batch)
        context, losses = _context(trace), []
        terms: dict[str, Tensor] = {}
        self.critics.train()
        try:
            for index, (critic, site) in enumerate(self._critic_sites(trace)):
                real = self._critic_input(site, site.prior_sample())
                fake = self._critic_input(site, site.z)
                real_logits, fake_logits = critic(torch.cat([real, fake]), context).chunk(2)
                loss = critic_loss(self.loss, real_logits, fake_logits, self.smoothing)
                if self.loss == "wasserstein-gp":
                    penalty = gradient_penalty(critic, real, fake, context)
                    loss = loss + self.gradient_weight * penalty
                losses.append(_sum_over_steps(loss, site).mean(0))
                suffix = f"-{index}" if len(self.critics) > 1 else ""
                steps = 1 if site.mask is None else site.mask.sum(-1).clamp(min=1)
                terms |= {f"real{suffix}": (_sum_over_steps(real_logits, site) / steps).mean(0)}
                terms |= {f"fake{suffix}": (_sum_over_steps(fake_logits, site) / steps).mean(0)}
        finally:
            self.critics.eval()
        return torch.stack(losses).sum(0), terms

    def _critic_input(self, site: vaezoo.Site, z: Tensor) -> Tensor:
        """Samples as a critic takes them, with noise in training."""
        z = z.flatten(2 if site.mask is None else 3)  # [K, B, D] or [K, B, T, D]
        return z + self.noise * torch.randn_like(z) if self.noise and self.training else z

    def _critic_sites(self, trace: vaezoo.Trace) -> list[tuple[Critic, vaezoo.Site]]:
        """Each critic with its latent variable."""
        sites = trace.sites if self.site < 0 else trace.sites[self.site : self.site + 1]
        return list(zip(self.critics, sites, strict=True))  # type: ignore[arg-type]


def _sum_over_steps(value: Tensor, site: vaezoo.Site) -> Tensor:
    """Sums over the steps that exist, from ``[K, B]`` or ``[K, B, T]`` to ``[K, B]``."""
    return value if site.mask is None else masked(value, site.mask[None]).sum(-1)


def _context(trace: vaezoo.Trace) -> Tensor | None:
    """The context as critics take it; detached, so that they do not train the conditioner."""
    if trace.context is None:
        return None
    return trace.context.detach().flatten(1)  # [B, E]
