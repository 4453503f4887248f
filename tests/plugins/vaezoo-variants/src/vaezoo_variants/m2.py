"""Semi-supervised learning with a class that is enumerated: the model M2."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import torch
import torch.nn.functional as F
from annotated_types import Ge
from torch import Tensor, nn
from torch.distributions import Distribution, OneHotCategorical

import vaezoo


class ClassAndStyle(vaezoo.Latents):
    """A class y and a style z, with q(y|x) q(z|x, y) and p(y) p(z) (Kingma et al. 2014).

    y is uniform over the classes of the data; ``z`` has the posterior and prior of the spec. A
    code, and a vector that ``encode`` returns, is y followed by z.
    """

    def __init__(self, wiring: vaezoo.LatentsWiring, /) -> None:
        super().__init__()
        classes, width = len(wiring.data.classes), torch.Size(wiring.feature_shapes[-1]).numel()
        if not classes:
            raise ValueError("needs a label for each example, which this data set does not have")
        self.spaces = (vaezoo.Space((classes,), "one-hot", name="y"), wiring.space)
        self.logits = nn.Linear(width, classes)
        self.posterior = wiring.posterior((width + classes,), wiring.space)
        self.prior = wiring.prior(wiring.space)
        self.register_buffer("uniform", torch.zeros(classes), persistent=False)

    def infer(self, inference: vaezoo.Inference) -> tuple[tuple[vaezoo.Site, ...], Tensor]:
        """Sites y and z, and the code. A fixed y of a known label costs -log p(y) alone."""
        h = inference.features[-1].flatten(1).float()  # [B, F]
        q_y = OneHotCategorical(logits=self.logits(h), validate_args=False)
        y, log_q = inference.fixed.get("y"), None
        if y is None:
            y = q_y.sample(torch.Size((inference.k,)))  # [K, B, classes]
        elif (label := inference.batch.condition) is not None:
            log_q = torch.where(label >= 0, 0, q_y.log_prob(y))
        q = self._style(h, y)
        z = q.rsample()
        y_site = vaezoo.Site("y", y, q_y, self._uniform(), log_q=log_q)
        z_site = vaezoo.Site(self.spaces[1].name, z, q, inference.p(self.prior))
        return (y_site, z_site), torch.cat([y, z], -1)

    def posterior_mean(self, inference: vaezoo.Inference) -> Tensor:
        """The most probable class, and the mean of z given it, ``[B, classes + D]``."""
        h = inference.features[-1].flatten(1).float()  # [B, F]
        y = F.one_hot(self.logits(h).argmax(-1), self.spaces[0].dimensions).float()
        return torch.cat([y, self._style(h, y[None]).mean[0]], -1)

    def _style(self, h: Tensor, y: Tensor) -> Distribution:
        """q(z|x, y) for features ``[B, F]`` and classes ``[K, B, classes]``."""
        return self.posterior(torch.cat([h.expand(len(y), *h.shape), y], -1))

    def generate(self, generation: vaezoo.Generation) -> Tensor:
        """Codes ``[n, classes + D]``."""
        y = self._uniform().sample(torch.Size((generation.n,)))
        return torch.cat([y, generation.sample(self.prior)], -1)

    def code(self, z: Tensor, generation: vaezoo.Generation) -> Tensor:
        """Returns the vector of y and z."""
        return z

    def _uniform(self) -> OneHotCategorical:
        return OneHotCategorical(logits=self.get_buffer("uniform"), validate_args=False)


class M2(vaezoo.Objective):
    """The bound of M2, with y summed out where the label is unknown, and a classification loss.

    Of an unlabelled example the distortion and rate are their means under q(y|x); of a labelled
    one (label of at least 0) they are those of its class (Kingma et al. 2014, eqs. 6, 7 and 9).

    Args:
        alpha: the weight of -log q(y|x), per labelled example.
    """

    def __init__(
        self, wiring: vaezoo.TaskWiring, /, *, alpha: Annotated[float, Ge(0)] = 1.0
    ) -> None:
        super().__init__()
        self.alpha, self.num_samples = alpha, wiring.spaces[0].dimensions

    def trace(self, model: vaezoo.GenerativeModel, batch: vaezoo.Batch) -> vaezoo.Trace:
        """A pass with one sample for each class, weighted by q(y|x) or by the label."""
        classes, label = self.num_samples, batch.condition
        y = torch.eye(classes, device=batch.x.device)[:, None].expand(-1, len(batch), -1)
        trace = model(batch, classes, {"y": y})
        weights = trace.site("y").q.probs  # [B, classes]
        if label is not None:
            one_hot = F.one_hot(label.clamp(min=0), classes).float()
            weights = torch.where(label[:, None] >= 0, one_hot, weights)
        return replace(trace, weights=weights.T)  # [classes, B]

    def forward(self, trace: vaezoo.Trace) -> Tensor:
        """The distortion, and alpha times the cross-entropy of known labels, ``[B]``."""
        label = trace.batch.condition
        if label is None:
            return trace.mean_distortion
        log_q = trace.site("y").q.logits.log_softmax(-1)
        cross_entropy = F.nll_loss(log_q, label.clamp(min=0), reduction="none")
        return trace.mean_distortion + self.alpha * torch.where(label >= 0, cross_entropy, 0)
