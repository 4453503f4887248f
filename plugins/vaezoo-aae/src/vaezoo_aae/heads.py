"""A categorical latent variable y and a style z (Makhzani et al. 2016, sections 4-7).

For semi-supervised and clustering autoencoders. Shapes: K samples, B examples, D dimensions of the
style, ``classes`` of the category.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from annotated_types import Gt
from torch import Tensor, nn
from torch.distributions import OneHotCategorical

import vaezoo
from vaezoo.distributions import Implicit


class Simplex(Implicit):
    """A point mass at the softmax of ``logits`` ``[*, classes]``: nothing is drawn at random."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__(logits.softmax(-1))
        self.logits = logits


def category_logits(sites: Sequence[vaezoo.Site]) -> Tensor:
    """The logits of q(y|x) of the first categorical latent variable, ``[B, classes]``.

    Raises:
        NotImplementedError: no latent variable is categorical.
    """
    for site in sites:
        if isinstance(site.q, Simplex | OneHotCategorical):
            return site.q.logits
    raise NotImplementedError("the model has no categorical head; use latents category-and-style")


class CategoryAndStyle(vaezoo.Latents):
    """A category y, the softmax of a linear layer, and a style z.

    The style has the spec's posterior and prior; ``latent_dim`` is the dimension of the style. The
    prior of y is uniform over one-hot vectors; only a critic on y (``adversarial``) brings the
    softmax close to one-hot. The latent vectors that ``encode`` returns and ``decode`` takes are y
    followed by z: ``classes + latent_dim`` numbers.

    Args:
        classes: the number of categories.
        head: how y enters the code: ``concat``, concatenated with z; or ``add``, as a learned
            vector for each category, added to z (section 7 of the paper, dimensionality reduction,
            without its cost that keeps these vectors apart).
    """

    uniform: Tensor

    def __init__(
        self,
        wiring: vaezoo.LatentsWiring,
        /,
        *,
        classes: Annotated[int, Gt(1)] = 10,
        head: Literal["concat", "add"] = "concat",
    ) -> None:
        super().__init__()
        width, latent_dim = torch.Size(wiring.feature_shapes[-1]).numel(), wiring.latent_dim
        self.category = nn.Linear(width, classes)
        self.posterior = wiring.posterior((width,), wiring.space)
        self.prior = wiring.prior(wiring.space)
        self.spaces = (vaezoo.Space((classes,), "simplex", name="category"), wiring.space)
        self.heads = nn.Linear(classes, latent_dim, bias=False) if head == "add" else None
        self.classes, self.style_dim = classes, latent_dim
        self.register_buffer("uniform", torch.zeros(classes), persistent=False)

    def infer(self, inference: vaezoo.Inference) -> tuple[tuple[vaezoo.Site, ...], Tensor]:
        """Two sites, y ``[K, B, classes]`` and z ``[K, B, D]``, and the code."""
        h = inference.features[-1].flatten(1).float()  # [B, width]
        category, style = Simplex(self.category(h)), self.posterior(h)
        shape = torch.Size((inference.k,))
        y, z = category.rsample(shape), style.rsample(shape)
        sites = (
            vaezoo.Site("category", y, category, self._category_prior()),
            vaezoo.Site(self.spaces[1].name, z, style, inference.p(self.prior)),
        )
        return sites, self._combine(y, z)

    def posterior_mean(self, inference: vaezoo.Inference) -> Tensor:
        """The probabilities q(y|x), then the mean of q(z|x): ``[B, classes + D]``."""
        h = inference.features[-1].flatten(1).float()  # [B, width]
        return torch.cat([self.category(h).softmax(-1), self.posterior(h).mean], -1)

    def generate(self, generation: vaezoo.Generation) -> Tensor:
        """Draws codes ``[n, ...]``: categories uniformly, styles from their prior."""
        y = self._category_prior().sample(torch.Size((generation.n,)))
        return self._combine(y, generation.sample(self.prior))

    def code(self, z: Tensor, generation: vaezoo.Generation) -> Tensor:
        """The code for latent vectors ``[..., classes + D]``, y before z.

        Raises:
            ValueError: ``z`` has another length, such as that of a style alone.
        """
        if z.shape[-1] != self.classes + self.style_dim:
            expected = f"{self.classes} + {self.style_dim} numbers, y before z"
            raise ValueError(f"a latent vector is {expected}, not {z.shape[-1]}")
        y, style = z.split([self.classes, self.style_dim], -1)
        return self._combine(y, style)

    def _category_prior(self) -> OneHotCategorical:
        return OneHotCategorical(logits=self.uniform, validate_args=False)

    def _combine(self, y: Tensor, z: Tensor) -> Tensor:
        """The code for y ``[..., classes]`` and z ``[..., D]``.

        Returns:
            ``[..., classes + D]`` for the head ``concat``, ``[..., D]`` for ``add``.
        """
        return torch.cat([y, z], -1) if self.heads is None else self.heads(y) + z


class Supervised(vaezoo.Regularizer):
    """The cross-entropy of a categorical head, averaged over the labelled examples of a batch.

    Labels of -1 are unknown. As this is a mean over the labelled examples of the whole batch, the
    scale depends neither on their share of the batch nor on parts and processes that divide it.

    Args:
        weight: the weight of the cross-entropy in nats.
    """

    def __init__(
        self, wiring: vaezoo.TaskWiring, /, *, weight: float | vaezoo.Schedule = 1.0
    ) -> None:
        super().__init__(weight)
        if wiring.data.condition_shape != () or not wiring.data.classes:
            raise ValueError("needs a label for each example, which this data set does not have")
        self.labels = len(wiring.data.classes)

    def forward(self, trace: vaezoo.Trace) -> Tensor:
        """-log q(y = label|x) over the share of labelled examples, and 0 without a label: ``[B]``.

        Raises:
            NotImplementedError: the model has no categorical head.
            ValueError: the head has fewer categories than there are labels.
        """
        label, log_q = trace.batch.condition, category_logits(trace.sites).log_softmax(-1)
        if label is None or log_q.shape[-1] < self.labels:
            classes = log_q.shape[-1]
            raise ValueError(
                f"needs labels and a head of at least {self.labels} classes, not {classes}"
            )
        nats = F.nll_loss(log_q, label.clamp(min=0), reduction="none")
        known, total = vaezoo.BatchShare.current().count(self.has_label, trace.batch)
        return torch.where(label >= 0, nats, 0) * (total / known.clamp(min=1))

    @staticmethod
    def has_label(batch: vaezoo.Batch) -> Tensor:
        """Which examples have a label, ``[B]``."""
        assert batch.condition is not None, "the data set has labels"
        return batch.condition >= 0
