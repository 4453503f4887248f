"""Counts, such as those of genes in single cells, relative to a size factor of each example."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, NegativeBinomial, Poisson

import vaezoo
from vaezoo.distributions import independent


class PoissonCounts(vaezoo.Likelihood):
    """A Poisson distribution with the log of its rate from the decoder."""

    supports = frozenset({"count"})

    def forward(self, h: Tensor, extras: Mapping[str, Tensor]) -> Distribution:
        """From log-rates ``[*, *shape]``."""
        return independent(Poisson(h.exp(), validate_args=False), self.event_dims)


class NegativeBinomialCounts(vaezoo.Likelihood):
    """A negative binomial with mean m = size * share, and one inverse dispersion t per column.

    The variance is m + m² / t. The size is an extra, such as the number of all counts in a cell;
    the decoder outputs logits of the shares (scVI, Lopez et al. 2018). Generated examples have
    the median size of the first batch, unless sizes are given.

    Args:
        size: the name of the extra, one number above 0 for each example.
        link: ``softmax``, shares that sum to 1 over the last dimension; or ``exp``, free ones.
    """

    supports = frozenset({"count"})

    def __init__(
        self,
        wiring: vaezoo.Wiring,
        /,
        *,
        size: str = "size",
        link: Literal["softmax", "exp"] = "softmax",
    ) -> None:
        super().__init__(wiring)
        if (shape := self.data.extras.get(size)) != ():
            known = "lacks it" if shape is None else f"has it with the shape {shape}"
            raise ValueError(
                f"needs the extra {size!r}, one number for each example, but this data {known}"
            )
        self.size, self.link = size, link
        self.log_inverse_dispersion = nn.Parameter(torch.zeros(self.data.shape[-1]))
        self.register_buffer("typical_size", torch.ones(()))

    def initialise(self, model: vaezoo.GenerativeModel, batch: vaezoo.Batch) -> None:
        """Takes the median size of the batch as that of generated examples."""
        self.typical_size.copy_(batch.extras[self.size].median())

    def typical_extras(self, n: int) -> Mapping[str, Tensor]:
        """The typical size, ``[n]``."""
        return {self.size: self.get_buffer("typical_size").expand(n)}

    def forward(self, h: Tensor, extras: Mapping[str, Tensor]) -> Distribution:
        """From logits ``[*, *shape]`` and sizes ``[B]``.

        Raises:
            ValueError: the examples come without their sizes.
        """
        if self.size not in extras:
            raise ValueError(f"the examples need the extra {self.size!r}: pass a vaezoo.Batch")
        log_size = extras[self.size].log().reshape(-1, *(1,) * len(self.data.shape))  # [B, 1, ...]
        log_share = h.log_softmax(-1) if self.link == "softmax" else h
        log_t = self.log_inverse_dispersion
        logits = log_size + log_share - log_t  # log of m / t
        counts = NegativeBinomial(log_t.exp(), logits=logits, validate_args=False)
        return independent(counts, self.event_dims)


class Log1p(vaezoo.Encoder):
    """An encoder of log(1 + x), which bounds the influence of great counts x.

    Args:
        encoder: the encoder.
    """

    def __init__(
        self, wiring: vaezoo.EncoderWiring, /, *, encoder: vaezoo.Factory[vaezoo.Encoder]
    ) -> None:
        super().__init__()
        if wiring.context_shape is not None:
            raise ValueError("counts have no logarithm once a condition is fused with them")
        self.encoder = encoder(wiring)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, ...]:
        """From counts ``[B, *in_shape]`` to the features of the encoder."""
        return self.encoder(x.log1p(), mask)
