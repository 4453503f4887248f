"""A hierarchy of latent maps, inferred and generated from coarse to fine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated

import torch
import torch.nn.functional as F
from annotated_types import Gt
from torch import Tensor, nn
from torch.distributions import Distribution

import vaezoo
from vaezoo.distributions import DiagonalNormal, draw


class Ladder(vaezoo.Latents):
    """Latent maps at the sizes of the encoder's feature maps (Sonderby et al. 2016).

    The coarsest map has the posterior and prior of the spec. Each finer one has a learned prior
    given the coarser ones, and a posterior relative to it: N(μ_p + Δμ, σ_p Δσ), as in NVAE (Vahdat
    & Kautz 2020). The code has all of them at the finest size.

    Args:
        levels: the number of maps, each of ``latent_dim`` channels.
    """

    supports = frozenset({"real"})

    def __init__(
        self, wiring: vaezoo.LatentsWiring, /, *, levels: Annotated[int, Gt(0)] = 2
    ) -> None:
        super().__init__()
        maps = wiring.feature_shapes[::-1][:levels]  # coarse to fine
        if len(maps) < levels or any(len(shape) != 3 for shape in maps):
            raise ValueError(f"needs {levels} feature maps: use conv with hidden: 0")
        dims = wiring.latent_dim
        self.spaces = tuple(
            replace(wiring.space, shape=(dims, *shape[1:]), name=f"level-{i + 1}")
            for i, shape in enumerate(maps)
        )
        self.posterior = wiring.posterior(maps[0], self.spaces[0])
        self.prior = wiring.prior(self.spaces[0])
        self.p_nets = nn.ModuleList(
            nn.Conv2d(i * dims, 2 * dims, 3, padding=1) for i in range(1, levels)
        )
        self.q_nets = nn.ModuleList(
            nn.Conv2d(i * dims + shape[0], 2 * dims, 3, padding=1)
            for i, shape in enumerate(maps[1:], 1)
        )

    def infer(self, inference: vaezoo.Inference) -> tuple[tuple[vaezoo.Site, ...], Tensor]:
        """One site per level, with z ``[K, B, D, H, W]``, and the code ``[K, B, L * D, H, W]``."""
        return self._infer(inference, lambda q, shape: q.rsample(shape))

    def posterior_mean(self, inference: vaezoo.Inference) -> Tensor:
        """The mean of each level given the means of the coarser ones, ``[B, scalars]``."""
        sites, _ = self._infer(inference, lambda q, shape: q.mean.expand(*shape, *q.mean.shape))
        return torch.cat([site.z[0].flatten(1) for site in sites], -1)

    def _infer(
        self,
        inference: vaezoo.Inference,
        value_of: Callable[[Distribution, torch.Size], Tensor],
    ) -> tuple[tuple[vaezoo.Site, ...], Tensor]:
        """The sites and the code, with the values that ``value_of`` takes from each posterior."""
        maps = [feature.float() for feature in inference.features[::-1]]
        q = self.posterior(maps[0])
        z = value_of(q, torch.Size((inference.k,)))
        sites = [vaezoo.Site(self.spaces[0].name, z, q, inference.p(self.prior))]

        def sample(level: int, p: DiagonalNormal, coarser: Tensor) -> Tensor:
            feature = maps[level].expand(*coarser.shape[:2], *maps[level].shape[1:])
            shift, log_ratio = _apply(self.q_nets[level - 1], torch.cat([coarser, feature], 2))
            q = DiagonalNormal(p.loc + shift, p.log_scale + log_ratio, 3)
            z = value_of(q, torch.Size())
            sites.append(vaezoo.Site(self.spaces[level].name, z, q, p))
            return z

        code = self._descend(z, sample)
        return tuple(sites), code

    def _descend(
        self, code: Tensor, sample: Callable[[int, DiagonalNormal, Tensor], Tensor]
    ) -> Tensor:
        """From the coarsest map ``[*, D, H, W]`` to the code of all levels."""
        for level, net in enumerate(self.p_nets, 1):
            coarser = _resize(code, self.spaces[level].shape[1:])
            p = DiagonalNormal(*_apply(net, coarser), 3)
            code = torch.cat([coarser, sample(level, p, coarser)], -3)
        return code

    def generate(self, generation: vaezoo.Generation) -> Tensor:
        """Codes ``[n, L * D, H, W]``, with every level from its prior."""
        z = generation.sample(self.prior)
        return self._descend(z, lambda level, p, coarser: draw(p, generation.prior_temperature))

    def code(self, z: Tensor, generation: vaezoo.Generation) -> Tensor:
        """The code of the flattened and concatenated maps ``[n, D']``, coarse to fine."""
        parts = z.split([space.dimensions for space in self.spaces], -1)
        maps = [
            part.unflatten(-1, space.shape) for part, space in zip(parts, self.spaces, strict=True)
        ]
        return self._descend(maps[0], lambda level, p, coarser: maps[level])


def _apply(net: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Two halves ``[*, D, H, W]`` of the output of a convolution for maps ``[*, C, H, W]``."""
    output = net(x.flatten(0, -4))
    first, second = output.unflatten(0, x.shape[:-3]).chunk(2, -3)
    return first, second


def _resize(x: Tensor, size: tuple[int, ...]) -> Tensor:
    """Maps ``[*, C, H, W]`` at another size."""
    return F.interpolate(x.flatten(0, -4), size).unflatten(0, x.shape[:-3])
