"""The component kind of latent variables: how they are inferred and how they are generated.

Shapes: K samples of the posterior, B examples, T steps of a sequence, D scalars of all latent
variables together.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from vaezoo.data.dataspec import Shape
from vaezoo.distributions import lerp, slerp
from vaezoo.model.component import Component
from vaezoo.model.parts import Posterior, Prior
from vaezoo.model.passes import Generation, Inference
from vaezoo.model.trace import Site
from vaezoo.model.wiring import Space, Wiring


@dataclass(frozen=True, kw_only=True)
class LatentsWiring(Wiring):
    """The wiring of latents. Its ``context_shape`` is that of the prior: ``(E,)``.

    Attributes:
        feature_shapes: the shapes of the encoder's features of one example, fine to coarse.
        space: a latent vector ``(latent_dim,)`` with the support of the spec's posterior. Latents
            change its shape or name with ``dataclasses.replace``.
        posterior: builds the spec's posterior, from the shape of its features and a space.
        prior: builds the spec's prior for a space.
    """

    feature_shapes: tuple[Shape, ...]
    space: Space
    posterior: Callable[[Shape, Space], Posterior]
    prior: Callable[[Space], Prior]

    @property
    def latent_dim(self) -> int:
        """``model.latent_dim`` of the spec."""
        return self.space.shape[0]


class Latents(Component, ABC):
    """Defines the latent variables: how they are inferred and how they are generated.

    Wiring: a ``LatentsWiring``. Required: ``spaces``, set by the constructor, ``infer`` and
    ``generate``. Optional: ``code``, for decoding given latent vectors, ``posterior_mean``,
    ``interpolate``; ``eager`` if ``infer`` differentiates.

    A code is the decoder's input: the latent vector itself, or a function of all latent variables.
    """

    conditional: ClassVar[bool] = False
    """Whether they use the context themselves, apart from passing it to the prior."""

    stepwise: ClassVar[bool] = False
    """Whether codes are sequences that are generated step by step."""

    supports: ClassVar[frozenset[str] | None] = None
    """The supports of the spec's posterior that they can use; None for any."""

    spaces: tuple[Space, ...]
    """The latent variables, in the order of generation; the sites of ``infer`` agree with it."""

    @abstractmethod
    def infer(self, inference: Inference) -> tuple[tuple[Site, ...], Tensor]:
        """Draws K samples from q(z|x).

        Args:
            inference: the batch with its features and contexts. Latents that can be fixed take
                their values from ``inference.fixed``.

        Returns:
            One site per latent variable, in the order of generation; and the codes,
            ``[K, B, ...]``.
        """

    def posterior_mean(self, inference: Inference) -> Tensor:
        """The means of q(z|x), flattened and concatenated: ``[B, D]``.

        The mean of each latent variable is conditioned on one sample of those before it; a
        variable at every step is averaged over the steps that exist.
        """
        sites, _ = self.infer(inference)
        return torch.cat([_site_mean(site) for site in sites], -1)

    @abstractmethod
    def generate(self, generation: Generation) -> Tensor:
        """Samples the prior.

        Returns:
            Codes ``[n, ...]``; if ``stepwise``, sequences of ``generation.steps`` steps.
        """

    def code(self, z: Tensor, generation: Generation) -> Tensor:
        """The codes ``[n, ...]`` of given latent vectors.

        Args:
            z: ``[n, D]``, as ``posterior_mean`` returns them.
            generation: the contexts, and the arguments of stepwise generation.

        Raises:
            NotImplementedError: a single vector does not determine the code.
        """
        raise NotImplementedError(f"{type(self).__name__} has no code for a single latent vector")

    def interpolate(self, first: Tensor, second: Tensor, share: Tensor) -> Tensor:
        """Latent vectors on the path between two, unless overridden.

        It is a great circle for a latent variable on a sphere, a straight line for others.

        Args:
            first, second: ``[B, D]``, as ``posterior_mean`` returns them.
            share: the share of the path, ``[S]``: 0 is ``first``, 1 is ``second``.

        Returns:
            ``[B, S, D]``.

        Raises:
            NotImplementedError: a latent variable is a symbol: there is none between two.
        """
        for space in self.spaces:
            if space.support == "symbols":
                raise NotImplementedError(f"there is no path between symbols of {space.name!r}")
        share = share[None, :, None]  # [1, S, 1]
        sizes = [space.dimensions for space in self.spaces]
        paths = [
            path(start[:, None], end[:, None], share)  # [B, S, dimensions]
            for path, start, end in zip(
                [slerp if space.support == "sphere" else lerp for space in self.spaces],
                first.split(sizes, -1),
                second.split(sizes, -1),
                strict=True,
            )
        ]
        return torch.cat(paths, -1)


def _site_mean(site: Site) -> Tensor:
    """The posterior mean of one latent variable at the first sample, ``[B, scalars]``."""
    mean = site.mean[0].float()  # [B, *event] or [B, T, *event]
    if site.mask is not None:
        weight = site.mask / site.mask.sum(1, keepdim=True).clamp(min=1)  # [B, T]
        mean = (mean * weight.reshape(*weight.shape, *(1,) * (mean.dim() - 2))).sum(1)
    return mean.flatten(1)
