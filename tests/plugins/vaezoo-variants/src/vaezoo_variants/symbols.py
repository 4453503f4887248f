"""A map of symbols, for priors over symbols."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import torch
import torch.nn.functional as F
from annotated_types import Gt
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, Independent

import vaezoo


class UniformSymbols(vaezoo.Prior):
    """Independent symbols, all equally probable."""

    supports = frozenset({"symbols"})

    def __init__(self, wiring: vaezoo.PriorWiring, /) -> None:
        super().__init__()
        self.dims = len(wiring.space.shape)
        zeros = torch.zeros(*wiring.space.shape, wiring.space.size)
        self.register_buffer("zeros", zeros, persistent=False)

    def forward(self, context: Tensor | None, model: vaezoo.GenerativeModel) -> Distribution:
        """One distribution ``[]`` over maps of symbols."""
        return Independent(Categorical(logits=self.get_buffer("zeros")), self.dims)


class SymbolMap(vaezoo.Latents):
    """A symbol at each position of the encoder's coarsest map, with an embedding as its code.

    q(z|x) is categorical; its samples carry no gradient.

    Args:
        symbols: the number of symbols.
    """

    def __init__(
        self, wiring: vaezoo.LatentsWiring, /, *, symbols: Annotated[int, Gt(1)] = 16
    ) -> None:
        super().__init__()
        channels, height, width = wiring.feature_shapes[-1]
        space = replace(wiring.space, shape=(height, width), support="symbols", size=symbols)
        self.spaces, self.prior = (space,), wiring.prior(space)
        self.logits = nn.Conv2d(channels, symbols, 1)
        self.table = nn.Embedding(symbols, wiring.latent_dim)

    def infer(self, inference: vaezoo.Inference) -> tuple[tuple[vaezoo.Site, ...], Tensor]:
        """One site with z ``[K, B, H, W]``, and codes ``[K, B, D, H, W]``."""
        logits = self.logits(inference.features[-1].float()).movedim(1, -1)  # [B, H, W, symbols]
        q = Independent(Categorical(logits=logits), 2)
        z = q.sample(torch.Size((inference.k,)))
        return (vaezoo.Site("z", z, q, inference.p(self.prior)),), self._embed(z)

    def generate(self, generation: vaezoo.Generation) -> Tensor:
        """Codes ``[n, D, H, W]``."""
        return self._embed(generation.sample(self.prior))

    def _embed(self, z: Tensor) -> Tensor:
        return F.embedding(z, self.table.weight).movedim(-1, -3)
