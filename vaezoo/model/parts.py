"""The kinds of component: each an abstract class with one required method and its stated contract.

A component's constructor is its schema. Positional-only parameters are wiring, given by the composer and
listed under each kind below; keyword-only parameters are its YAML options, checked against their annotations.
Shapes: K samples, B examples, N = any number of leading elements, D latent dimensions.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from vaezoo.data.dataspec import DataSpec, Shape
from vaezoo.model.generation import Generation
from vaezoo.model.trace import Site


class Encoder(nn.Module, ABC):
    """Data to features. Wiring: ``in_shape``, the shape of one input."""

    takes_vectors: ClassVar[bool] = False
    """Whether it takes its input as one vector; a context is then put beside the vector, once, not in every pixel."""

    @abstractmethod
    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, ...]:
        """From ``[B, *in_shape]`` to features ``[B, ...]``, fine to coarse. Masked inputs must not matter."""


class Posterior(nn.Module, ABC):
    """Features to q(z|x). Wiring: ``in_features``, ``latent_dim``."""

    @abstractmethod
    def forward(self, h: Tensor) -> Distribution:
        """From ``[N, in_features]`` to a distribution with batch shape ``[N]`` and event shape ``[latent_dim]``."""


class Prior(nn.Module, ABC):
    """p(z), or p(z|context). Wiring: ``latent_dim``, ``context_dim`` (0: unconditional)."""

    conditional: ClassVar[bool] = False
    """Whether it can use a context; the composer refuses ``into: [prior]`` where it cannot."""

    @abstractmethod
    def forward(self, h: Tensor | None) -> Distribution:
        """From a context ``[B, context_dim]``, or None, to a distribution with event shape ``[latent_dim]``."""


class Likelihood(nn.Module, ABC):
    """Decoder output to p(x|z). Wiring: ``data``, a DataSpec.

    Requirements: ``__init__`` calls ``super().__init__(data)``, which refuses data outside ``supports``. The
    distribution's event must be the dimensions that no mask covers (``event_dims`` of them).
    """

    params_per_value: int = 1
    """How many numbers the decoder must give for each scalar of data, stacked along the first dimension."""

    supports: ClassVar[frozenset[str]] = frozenset({"binary", "unit", "real"})

    def __init__(self, data: DataSpec, /) -> None:
        super().__init__()
        if data.support not in self.supports:
            wanted = " or ".join(sorted(self.supports))
            raise ValueError(f"needs {wanted} data, but this data set is {data.support}")
        self.data = data
        self.event_dims = len(data.shape) - data.mask_dims

    @property
    def _steps(self) -> bool:
        """Whether an example is a sequence of vectors, not an image with a mask."""
        return self.data.mask_dims > 0 and len(self.data.shape) < 3

    @property
    def parameter_shape(self) -> Shape:
        """The shape of the decoder's output for one example."""
        if self._steps:  # the scalars of a sequence step lie in the last dimension
            return (*self.data.shape[:-1], self.params_per_value * self.data.shape[-1])
        return (self.params_per_value * self.data.shape[0], *self.data.shape[1:])

    def split_parameters(self, h: Tensor) -> Tensor:
        """From ``[*, *parameter_shape]`` to ``[params_per_value, *, *data.shape]``."""
        dim = -1 if self._steps else -len(self.data.shape)
        return torch.stack(h.chunk(self.params_per_value, dim))

    @abstractmethod
    def forward(self, h: Tensor) -> Distribution:
        """From ``[*, *parameter_shape]`` to a distribution over ``x``."""


class Latents(nn.Module, ABC):
    """Where latent variables sit. Wiring: ``feature_shapes`` of one example, fine to coarse; ``latent_dim``;
    ``posterior`` and ``prior``, factories that take the wiring of their kinds; ``context_dim``."""

    conditional: ClassVar[bool] = False
    """Whether they use a context beside giving it to the prior."""

    stepwise: ClassVar[bool] = False
    """Whether codes are sequences, so that ``generate`` and ``code`` need a loop."""

    @abstractmethod
    def infer(
        self, features: tuple[Tensor, ...], context: Tensor | None, mask: Tensor | None, k: int
    ) -> tuple[tuple[Site, ...], Tensor]:
        """Draws K samples of q(z|x): the sites, and the code for the decoder, ``[K, B, ...]``.

        Features may come in a lower precision; bring those that are used to fp32.
        """

    def posterior_mean(self, features: tuple[Tensor, ...], context: Tensor | None, mask: Tensor | None) -> Tensor:
        """The means of q(z|x), ``[B, D]``; several sites stand side by side, each given a sample of those above."""
        sites, _ = self.infer(features, context, mask, 1)
        return torch.cat([site.q.mean.expand(site.z.shape[1:]).flatten(1) for site in sites], -1)

    @abstractmethod
    def generate(self, n: int, context: Tensor | None, generation: Generation | None = None) -> Tensor:
        """Draws n codes from the prior, ``[n, ...]``; sequences of ``loop.steps`` where it is ``stepwise``."""

    def code(self, z: Tensor, context: Tensor | None = None, generation: Generation | None = None) -> Tensor:
        """The code for chosen latent vectors ``z`` ``[n, D]``; raises where one vector does not decide it."""
        raise NotImplementedError(f"{type(self).__name__} has no code for a single latent vector")


class Decoder(nn.Module, ABC):
    """Code to likelihood parameters. Wiring: ``in_shape`` of one code, ``out_shape`` of one output."""

    @abstractmethod
    def forward(self, code: Tensor) -> Tensor:
        """From ``[N, *in_shape]`` to ``[N, *out_shape]``."""


class Conditioner(nn.Module, ABC):
    """A raw condition (label, attributes, image) to a context. Wiring: ``data``, a DataSpec."""

    @abstractmethod
    def forward(self, condition: Tensor) -> Tensor:
        """From conditions ``[B, ...]`` to contexts: vectors ``[B, E]`` or feature maps ``[B, E, H, W]``."""

    def unconditional_context(self, n: int) -> Tensor:
        """The contexts of n examples without a condition, for a model that was trained to do without.

        Raises:
            ValueError: it was not.
        """
        raise ValueError("this model is conditional: give a condition")
