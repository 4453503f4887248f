"""A critic that tells posterior samples from prior samples, and the penalty that asks to be mistaken for the prior.

Shapes: K samples, B examples, T steps where a latent variable has some, D of its dimensions, E of the context.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
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
    """A latent variable, and a context beside it, to one logit. Examples are judged one by one: no batch norm.

    Args:
        in_features: D + E.
        hidden: the width of each layer.
        slope: of the leaky ReLU below 0.
        dropout: the share of units dropped while it learns.
        spectral_norm: divide each layer's weights by their largest singular value.
    """

    def __init__(
        self, in_features: int, hidden: Sequence[int], slope: float, dropout: float, spectral_norm: bool
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
        """From ``[K, B, D]`` and contexts ``[B, E]`` to logits ``[K, B]``; from ``[K, B, T, D]`` to ``[K, B, T]``."""
        if context is not None:
            beside = context.unflatten(0, (len(context), *(1,) * (z.dim() - 3)))
            z = torch.cat([z, beside.expand(*z.shape[:-1], -1)], -1)
        return self.net(z).squeeze(-1)


def _linear(in_features: int, out_features: int, spectral_norm: bool) -> nn.Module:
    linear = nn.Linear(in_features, out_features)
    return parametrizations.spectral_norm(linear) if spectral_norm else linear


def critic_loss(loss: Loss, real: Tensor, fake: Tensor, smoothing: float = 0.0) -> Tensor:
    """What a critic minimises at the logits of prior and posterior samples, elementwise.

    Non-saturating: cross-entropy in nats (Goodfellow et al. 2014), the target of real samples 1 - ``smoothing``.
    Least-squares: Mao et al. 2017, eq. 9, with targets 1 - ``smoothing`` and 0. Wasserstein: Arjovsky et al. 2017.
    """
    if loss == "non-saturating":
        return F.softplus(-real) + smoothing * real + F.softplus(fake)
    if loss == "least-squares":
        return 0.5 * ((real - (1 - smoothing)).square() + fake.square())
    return fake - real


def generator_loss(loss: Loss, fake: Tensor) -> Tensor:
    """What the encoder minimises at the logits of posterior samples, elementwise: least where they pass for real."""
    if loss == "non-saturating":
        return F.softplus(-fake)
    return 0.5 * (fake - 1).square() if loss == "least-squares" else -fake


def gradient_penalty(critic: Critic, real: Tensor, fake: Tensor, context: Tensor | None) -> Tensor:
    """(‖∇_z critic‖ - 1)² at a random point between each pair of samples, ``[K, B, *]`` (Gulrajani et al. 2017)."""
    share = torch.rand(*real.shape[:-1], 1, dtype=real.dtype, device=real.device)
    between = torch.lerp(real, fake, share).requires_grad_()  # [K, B, D]
    (slope,) = torch.autograd.grad(critic(between, context).sum(), between, create_graph=True)
    return (slope.norm(dim=-1) - 1).square()


class Adversarial(vaezoo.Regularizer):
    """Matches the aggregate posterior to the prior by a critic on z (Makhzani et al. 2016), whatever the two are.

    Each latent variable has a critic of its own, trained on samples of that variable's prior and of the posterior, in a
    move after the model's. One with steps is judged step by step, and its losses are summed over the steps that exist.
    In a conditional model critics see the context too: the aggregate posterior of each context
    is matched to the prior, so a label is either used by the prior or has no place in z. Dropout and spectral norms
    are refreshed in the critics' own move alone. Every player takes the optimizer of ``train``; its first moments
    are best kept short (adam with betas 0.5 and 0.999). Without ``kl`` no density is needed of posterior or prior.

    Args:
        weight: of the penalty beside a distortion that is summed over all pixels: 10 or so, and about 1 for
            ``wasserstein-gp``, whose slope does not fade (with a gradient penalty of 1, say).
        loss: ``non-saturating``, ``least-squares`` or ``wasserstein-gp``.
        hidden: the width of each layer of a critic.
        slope: of the leaky ReLU below 0.
        dropout: the share of a critic's units dropped while it learns.
        spectral_norm: divide each layer's weights by their largest singular value (Miyato et al. 2018).
        noise: the standard deviation of normal noise on all that critics see, real or fake (Sonderby et al. 2017): what
            is one-hot is otherwise told from a softmax by its digits alone, and some categories are never taken.
        smoothing: how far the target of real samples lies below 1 (Salimans et al. 2016); not for ``wasserstein-gp``.
        gradient_penalty: the weight of (‖gradient‖ - 1)², for ``wasserstein-gp`` alone.
        site: which latent variable, counted from 0 in the order of generation; -1 for all, each with its own critic.
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
            raise ValueError(f"weight {weight:g} would make the encoder help the critic; it must be at least 0")
        if loss == "wasserstein-gp" and smoothing:
            raise ValueError("smoothing is for losses with targets; wasserstein-gp has none")
        if site >= len(wiring.site_dims):
            raise ValueError(f"site: there is no latent variable {site}; they are counted from 0")
        self.loss, self.noise, self.smoothing = loss, noise, smoothing
        self.gradient_weight, self.site = gradient_penalty, site
        self.critics = nn.ModuleList(
            Critic(dims + wiring.context_dim, hidden, slope, dropout, spectral_norm)
            for dims in (wiring.site_dims if site < 0 else wiring.site_dims[site : site + 1])
        )
        self.critics.eval()

    def train(self, mode: bool = True) -> Self:
        """As every module, but that critics learn in their own move alone and stand still in the model's."""
        super().train(mode)
        self.critics.eval()
        return self

    def forward(self, trace: vaezoo.Trace) -> Tensor:
        """The encoder's loss at its samples, ``[B]``, averaged over them and summed over latent variables."""
        return self._sum_over_sites(trace, lambda logits: generator_loss(self.loss, logits))

    def score(self, trace: vaezoo.Trace) -> Tensor:
        """The critics' logits with the sign turned, ``[B]``, averaged over samples and summed over latent variables."""
        return self._sum_over_sites(trace, lambda logits: -logits)

    def _sum_over_sites(self, trace: vaezoo.Trace, of: Callable[[Tensor], Tensor]) -> Tensor:
        """What follows from each critic's logits, ``[B]``: the mean over samples, the sum over steps and variables."""
        context = _context(trace)
        watched = [
            (site, critic(self._critic_input(site, site.z), context)) for critic, site in self._critic_sites(trace)
        ]
        return torch.stack([_sum_over_steps(of(logits), site).mean(0) for site, logits in watched]).sum(0)

    def phases(self, model: vaezoo.Model) -> Sequence[vaezoo.Phase]:
        """The critics' move."""
        name = "critic" if self.site < 0 else f"critic-{self.site}"
        return (vaezoo.Phase(name, self.critics, partial(self._move, model)),)

    def _move(self, model: vaezoo.Model, batch: vaezoo.Batch) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The critics' loss of each example ``[B]``, and the mean logits of real and fake samples."""
        trace = model.infer_detached(batch)
        context, losses = _context(trace), []
        terms: dict[str, Tensor] = {}
        self.critics.train()
        try:
            for index, (critic, site) in enumerate(self._critic_sites(trace)):
                real, fake = self._critic_input(site, site.prior_sample()), self._critic_input(site, site.z)
                of_real, of_fake = critic(torch.cat([real, fake]), context).chunk(2)
                loss = critic_loss(self.loss, of_real, of_fake, self.smoothing)
                if self.loss == "wasserstein-gp":
                    loss = loss + self.gradient_weight * gradient_penalty(critic, real, fake, context)
                losses.append(_sum_over_steps(loss, site).mean(0))
                which = f"-{index}" if len(self.critics) > 1 else ""
                steps = 1 if site.mask is None else site.mask.sum(-1).clamp(min=1)
                terms |= {f"real{which}": (_sum_over_steps(of_real, site) / steps).mean(0)}
                terms |= {f"fake{which}": (_sum_over_steps(of_fake, site) / steps).mean(0)}
        finally:
            self.critics.eval()
        return torch.stack(losses).sum(0), terms

    def _critic_input(self, site: vaezoo.Site, z: Tensor) -> Tensor:
        """Samples as a critic takes them: ``[K, B, D]``, or ``[K, B, T, D]`` where the variable has steps."""
        flat = z.flatten(2 if site.mask is None else 3)
        return flat + self.noise * torch.randn_like(flat) if self.noise and self.training else flat

    def _critic_sites(self, trace: vaezoo.Trace) -> list[tuple[Critic, vaezoo.Site]]:
        """Each critic with its latent variable."""
        sites = trace.sites if self.site < 0 else trace.sites[self.site : self.site + 1]
        return list(zip(self.critics, sites, strict=True))  # type: ignore[arg-type]


def _sum_over_steps(value: Tensor, site: vaezoo.Site) -> Tensor:
    """The sum over the steps that exist, ``[K, B]``."""
    return value if site.mask is None else masked(value, site.mask[None]).sum(-1)


def _context(trace: vaezoo.Trace) -> Tensor | None:
    """What critics see of a context, ``[B, E]``: nothing of them trains the conditioner."""
    return None if trace.context is None else trace.context.detach().flatten(1)
