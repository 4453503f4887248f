"""The multimodal VAE: a product of experts infers one latent variable from any parts of the data.

Shapes: K samples, B examples, D latent dimensions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated

import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn

import vaezoo
from vaezoo.distributions import DiagonalNormal


class ProductOfExperts(vaezoo.Latents):
    """q(z|x) is the product of N(0, I) and a normal of each part that an example has.

    Each part has a posterior of its own (Wu & Goodman 2018, section 2.2).
    """

    supports = frozenset({"real"})

    def __init__(self, wiring: vaezoo.LatentsWiring, /) -> None:
        super().__init__()
        self.names, self.spaces = tuple(wiring.data.parts), (wiring.space,)
        if not self.names:
            raise ValueError("needs data of several parts")
        self.experts = nn.ModuleList(
            wiring.posterior((torch.Size(shape).numel(),), wiring.space)
            for shape in wiring.feature_shapes[: len(self.names)]
        )
        self.prior = wiring.prior(wiring.space)

    def posterior(self, inference: vaezoo.Inference) -> DiagonalNormal:
        """The normalised product, ``[B, D]``: precisions add up, and weight the means."""
        precision, weighted = 1.0, 0.0  # of N(0, I)
        parts = zip(self.names, self.experts, inference.features, strict=False)
        for name, expert, features in parts:
            q, there = expert(features.flatten(1).float()), inference.batch.has(name)
            weight = q.variance.reciprocal()  # [B, D]
            weight = weight if there is None else weight * there[:, None]
            precision, weighted = precision + weight, weighted + weight * q.mean
        return DiagonalNormal(weighted / precision, -0.5 * precision.log())

    def infer(self, inference: vaezoo.Inference) -> tuple[tuple[vaezoo.Site, ...], Tensor]:
        """One site with z ``[K, B, D]``, which is also the code."""
        q, name = self.posterior(inference), self.spaces[0].name
        z = inference.fixed.get(name)
        if z is None:
            z = q.rsample(torch.Size((inference.k,)))
        return (vaezoo.Site(name, z, q, inference.p(self.prior)),), z

    def posterior_mean(self, inference: vaezoo.Inference) -> Tensor:
        """The mean of q(z|x), ``[B, D]``."""
        return self.posterior(inference).mean

    def generate(self, generation: vaezoo.Generation) -> Tensor:
        """Samples of the prior, ``[n, D]``."""
        return generation.sample(self.prior)

    def code(self, z: Tensor, generation: vaezoo.Generation) -> Tensor:
        """Returns ``z``."""
        return z


@dataclass(frozen=True)
class EncodedTrace(vaezoo.Trace):
    """A pass over all parts, with the inference that other passes begin from."""

    inference: vaezoo.Inference | None = None


class SubsetELBO(vaezoo.Objective):
    """The sum of the ELBO of all parts, that of each part, and those of random subsets.

    Each is inferred from the parts in a subset and scores these (Wu & Goodman 2018, eq. 5). That
    of all parts is the bound on log p(x); where an example has no part of a subset, it is 0.

    Args:
        subsets: k, the number of random subsets, which have each part with probability 1/2.
        samples: the number of posterior samples for each ELBO.
    """

    loss_includes_rate = True

    def __init__(
        self,
        wiring: vaezoo.TaskWiring,
        /,
        *,
        subsets: Annotated[int, Ge(0)] = 0,
        samples: Annotated[int, Gt(0)] = 1,
    ) -> None:
        super().__init__()
        if not wiring.data.parts:
            raise ValueError("needs data of several parts")
        self.names, self.subsets, self.num_samples = tuple(wiring.data.parts), subsets, samples

    def trace(self, model: vaezoo.GenerativeModel, batch: vaezoo.Batch) -> vaezoo.Trace:
        """The pass over all parts that are present."""
        inference = model.start_inference(batch, self.num_samples)
        trace = infer_and_decode(inference)
        return EncodedTrace(
            model, batch, trace.sites, trace.code, trace.px, trace.context, inference=inference
        )

    def forward(self, trace: EncodedTrace) -> Tensor:
        """The negative sum, ``[B]``."""
        total = trace.mean_elbo
        for batch in self.batches(trace.batch):
            elbo = infer_and_decode(replace(trace.inference, batch=batch)).mean_elbo
            is_there = torch.stack([batch.present[name] for name in self.names]).any(0)
            total = total + torch.where(is_there, elbo, 0.0)
        return -total

    def batches(self, batch: vaezoo.Batch) -> Iterator[vaezoo.Batch]:
        """The batch with one part of each example, then with random ones."""
        everywhere = torch.ones(len(batch), dtype=torch.bool, device=batch.device)
        present = dict.fromkeys(self.names, everywhere) | dict(batch.present or {})
        batch = replace(batch, present=present)
        for name in self.names:
            yield batch.only(name)
        for _ in range(self.subsets):
            kept = {
                name: there & (torch.rand_like(there, dtype=torch.float) < 0.5)
                for name, there in present.items()
            }
            yield replace(batch, present=kept)


def infer_and_decode(inference: vaezoo.Inference) -> vaezoo.Trace:
    """A pass that begins from features, and scores the parts of ``inference.batch``."""
    trace = inference.model.infer(inference)
    extras = inference.batch.extras
    px = inference.model.likelihood_of(trace.code, trace.context, extras)
    return replace(trace, px=px)
