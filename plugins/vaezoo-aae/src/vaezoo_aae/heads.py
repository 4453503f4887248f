"""A categorical head beside a style: semi-supervised and clustering autoencoders (Makhzani et al. 2016, sections 4-7).

Shapes: K samples, B examples, D dimensions of the style, ``classes`` of the category.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from annotated_types import Gt
from torch import Tensor, nn
from torch.distributions import OneHotCategorical

import vaezoo
from vaezoo.distributions import Implicit


class Simplex(Implicit):
    """A category that is not drawn: the softmax of its logits ``[*, classes]`` is the sample itself."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__(logits.softmax(-1))
        self.logits = logits


def category_logits(sites: Sequence[vaezoo.Site]) -> Tensor:
    """The logits of q(y|x) of the first latent variable that is a category, ``[B, classes]``.

    Raises:
        NotImplementedError: there is none.
    """
    for site in sites:
        if isinstance(site.q, Simplex | OneHotCategorical):
            return site.q.logits
    raise NotImplementedError("the model has no categorical head; use latents category-and-style")


class CategoryAndStyle(vaezoo.Latents):
    """A category y, the softmax of a linear layer, and beside it a style z with the spec's posterior and prior.

    ``latent_dim`` is the style's. The prior of y is uniform over one-hot vectors; nothing but a critic on y
    (``adversarial``) brings the softmax near one. The latent vector that ``encode`` gives and ``decode`` takes is y
    before z, ``classes + latent_dim`` numbers: a style alone is no latent vector here.

    Args:
        classes: how many categories.
        head: how the decoder sees y: ``concat``, beside z; or ``add``, as a learned vector of each category that is
            added to z (section 7 of the paper, dimensionality reduction, without its cost for vectors too close).
    """

    uniform: Tensor

    def __init__(
        self,
        feature_shapes: tuple[tuple[int, ...], ...],
        latent_dim: int,
        posterior: Callable[[int, int], vaezoo.Posterior],
        prior: Callable[[int, int], vaezoo.Prior],
        context_dim: int,
        /,
        *,
        classes: Annotated[int, Gt(1)] = 10,
        head: Literal["concat", "add"] = "concat",
    ) -> None:
        super().__init__()
        width = torch.Size(feature_shapes[-1]).numel()
        self.category = nn.Linear(width, classes)
        self.posterior = posterior(width, latent_dim)
        self.prior = prior(latent_dim, context_dim)
        self.heads = nn.Linear(classes, latent_dim, bias=False) if head == "add" else None
        self.classes, self.style = classes, latent_dim
        self.register_buffer("uniform", torch.zeros(classes), persistent=False)

    def infer(
        self, features: tuple[Tensor, ...], context: Tensor | None, mask: Tensor | None, k: int
    ) -> tuple[tuple[vaezoo.Site, ...], Tensor]:
        """Two sites, y ``[K, B, classes]`` and z ``[K, B, D]``, and the code."""
        h = features[-1].flatten(1).float()
        category, style = Simplex(self.category(h)), self.posterior(h)
        y, z = category.rsample((k,)), style.rsample(torch.Size((k,)))
        sites = vaezoo.Site(y, category, self._uniform()), vaezoo.Site(z, style, self.prior(context))
        return sites, self._joined(y, z)

    def posterior_mean(self, features: tuple[Tensor, ...], context: Tensor | None, mask: Tensor | None) -> Tensor:
        """The probabilities q(y|x) before the mean of q(z|x), ``[B, classes + D]``."""
        h = features[-1].flatten(1).float()
        return torch.cat([self.category(h).softmax(-1), self.posterior(h).mean], -1)

    def generate(self, n: int, context: Tensor | None, generation: vaezoo.Generation | None = None) -> Tensor:
        """Codes ``[n, ...]`` of one-hot categories, all equally likely, and of styles from the prior."""
        y, p = self._uniform().sample(torch.Size((n,))), self.prior(context)
        return self._joined(y, p.sample() if p.batch_shape else p.sample(torch.Size((n,))))

    def code(self, z: Tensor, context: Tensor | None = None, generation: vaezoo.Generation | None = None) -> Tensor:
        """The code for y before z, ``[..., classes + D]``.

        Raises:
            ValueError: it is of another length, such as that of a style alone.
        """
        if z.shape[-1] != self.classes + self.style:
            raise ValueError(f"a latent vector is {self.classes} + {self.style} numbers, y before z, not {z.shape[-1]}")
        y, style = z.split([self.classes, self.style], -1)
        return self._joined(y, style)

    def _uniform(self) -> OneHotCategorical:
        return OneHotCategorical(logits=self.uniform, validate_args=False)

    def _joined(self, y: Tensor, z: Tensor) -> Tensor:
        """From ``[..., classes]`` and ``[..., D]`` to codes ``[..., classes + D]``, or ``[..., D]`` where they add."""
        return torch.cat([y, z], -1) if self.heads is None else self.heads(y) + z


class Supervised(vaezoo.Regularizer):
    """The cross-entropy of a categorical head, averaged over the examples of a batch whose label is known.

    A label of -1 is not known. The weight means the same whatever share of a batch is labelled.

    Args:
        weight: of the cross-entropy, in nats.
    """

    def __init__(self, wiring: vaezoo.TaskWiring, /, *, weight: float | vaezoo.Schedule = 1.0) -> None:
        super().__init__(weight)
        if wiring.data.condition_shape != () or not wiring.data.classes:
            raise ValueError("needs a label for each example, which this data set does not have")
        self.labels = len(wiring.data.classes)

    def forward(self, trace: vaezoo.Trace) -> Tensor:
        """For each example ``[B]`` -log q(y = label|x) over the share of known labels, and 0 where it is not known.

        Raises:
            NotImplementedError: the model has no categorical head.
            ValueError: the head has fewer categories than there are labels.
        """
        label, log_q = trace.batch.condition, category_logits(trace.sites).log_softmax(-1)
        if label is None or log_q.shape[-1] < self.labels:
            raise ValueError(f"needs labels and a head of {self.labels} classes at least, not {log_q.shape[-1]}")
        known = label >= 0
        nats = F.nll_loss(log_q, label.clamp(min=0), reduction="none")
        return torch.where(known, nats, 0) * (len(label) / known.sum().clamp(min=1))
