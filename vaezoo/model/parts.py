"""The component kinds that make up a model: one abstract class per kind, each with its contract.

A plugin subclasses one of them and implements ``forward`` (``Latents``: ``infer`` and
``generate``). The constructor of a component is its schema:

- Positional-only parameters (before ``/``) are its wiring. The composer passes them by position,
  in the order listed under "Wiring" of the kind.
- Keyword-only parameters are its YAML options, checked against their annotations.

Shapes: K samples of the posterior, B examples, T steps of a sequence, D latent dimensions, N any
number of rows (K * B or B), ``*`` any leading dimensions. Event and batch shapes are those of
``torch.distributions``.
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
    """Maps data to features.

    Wiring: ``in_shape``, the shape of one input; it includes the context if that is fused with the
    data. Required: ``forward``.
    """

    takes_vectors: ClassVar[bool] = False
    """Whether it flattens its input to a vector. A context is then fused once with that vector and
    not with every pixel or step."""

    @abstractmethod
    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, ...]:
        """Encodes a batch.

        Args:
            x: ``[B, *in_shape]``.
            mask: True where ``x`` is observed, ``[B, *leading dimensions of in_shape]``; None
                means everywhere. Values that the mask hides must not change the result.

        Returns:
            One or more features ``[B, ...]``, fine to coarse.
        """


class Posterior(nn.Module, ABC):
    """Maps features to the posterior q(z|x) of one latent variable.

    Wiring: ``in_features``, the number of input features; ``latent_dim``, D. Required:
    ``forward``.
    """

    @abstractmethod
    def forward(self, h: Tensor) -> Distribution:
        """From features ``[N, in_features]`` to a distribution over z.

        Returns:
            A distribution with batch shape ``[N]`` and event shape ``[D]``. The built-in latents
            sample it with ``rsample``.
        """


class Prior(nn.Module, ABC):
    """Defines the prior p(z), or p(z|context), of one latent variable.

    Wiring: ``latent_dim``, D; ``context_dim``, the number of context features, 0 without a
    context. Required: ``forward``.
    """

    conditional: ClassVar[bool] = False
    """Whether it can use a context. If not, the composer refuses ``into: [prior]``."""

    @abstractmethod
    def forward(self, h: Tensor | None) -> Distribution:
        """From a context ``[B, context_dim]``, or None, to a distribution over z.

        Returns:
            A distribution with event shape ``[D]`` and batch shape ``[B]``, or ``[]`` if it does
            not depend on the context.
        """


class Likelihood(nn.Module, ABC):
    """Maps the decoder's output to the likelihood p(x|z).

    Wiring: ``data``, a DataSpec. Required: ``forward``, and an ``__init__`` that calls
    ``super().__init__(data)``, which rejects data whose support is not in ``supports``. The event
    dimensions of the distribution must be the last ``event_dims`` dimensions of the data: those
    that the mask does not cover.
    """

    params_per_value: int = 1
    """The number of parameters that the decoder outputs for each scalar of data, stacked along the
    channel dimension (the last dimension of a sequence)."""

    supports: ClassVar[frozenset[str]] = frozenset({"binary", "unit", "real"})
    """The supports of data that it accepts."""

    def __init__(self, data: DataSpec, /) -> None:
        super().__init__()
        if data.support not in self.supports:
            supported = " or ".join(sorted(self.supports))
            raise ValueError(f"needs {supported} data, but this data set is {data.support}")
        self.data = data
        self.event_dims = len(data.shape) - data.mask_dims

    @property
    def _is_sequence(self) -> bool:
        """Whether an example is a masked sequence of vectors, not an image with a pixel mask."""
        return self.data.mask_dims > 0 and len(self.data.shape) < 3

    @property
    def parameter_shape(self) -> Shape:
        """The shape of the decoder's output for one example."""
        if self._is_sequence:  # the scalars of a step are in the last dimension
            return (*self.data.shape[:-1], self.params_per_value * self.data.shape[-1])
        return (self.params_per_value * self.data.shape[0], *self.data.shape[1:])

    def split_parameters(self, h: Tensor) -> Tensor:
        """From ``[*, *parameter_shape]`` to ``[params_per_value, *, *data.shape]``."""
        dim = -1 if self._is_sequence else -len(self.data.shape)
        return torch.stack(h.chunk(self.params_per_value, dim))

    @abstractmethod
    def forward(self, h: Tensor) -> Distribution:
        """From the decoder's output to a distribution over x.

        Args:
            h: ``[*, *parameter_shape]`` in fp32; the leading dimensions are ``[K, B]`` or ``[B]``.

        Returns:
            A distribution over data of shape ``[*, *data.shape]``.
        """


class Latents(nn.Module, ABC):
    """Defines the latent variables: how they are inferred and how they are generated.

    Wiring: ``feature_shapes``, the shapes of the features of one example, fine to coarse;
    ``latent_dim``, D; ``posterior``, which builds a Posterior from (in_features, latent_dim);
    ``prior``, which builds a Prior from (latent_dim, context_dim); ``context_dim``, 0 unless the
    context goes into the prior. Required: ``infer`` and ``generate``. Optional: ``code``, for
    decoding a given latent vector, and ``posterior_mean``.

    A code is the decoder's input: the latent vector itself, or a function of all latent variables.
    """

    conditional: ClassVar[bool] = False
    """Whether they use the context themselves, apart from passing it to the prior."""

    stepwise: ClassVar[bool] = False
    """Whether codes are sequences that are generated step by step, with a ``generation``."""

    @abstractmethod
    def infer(
        self, features: tuple[Tensor, ...], context: Tensor | None, mask: Tensor | None, k: int
    ) -> tuple[tuple[Site, ...], Tensor]:
        """Draws K samples from q(z|x).

        Args:
            features: the encoder's output, ``[B, ...]`` each. They may come in a lower precision;
                convert those that are used with ``float()``.
            context: ``[B, context_dim]``, or None.
            mask: True where the data is observed, as in ``Batch``, or None.
            k: the number of samples K.

        Returns:
            One site per latent variable, in the order of generation; and the codes,
            ``[K, B, ...]``.
        """

    def posterior_mean(
        self, features: tuple[Tensor, ...], context: Tensor | None, mask: Tensor | None
    ) -> Tensor:
        """The means of q(z|x), ``[B, D]``.

        The means of several sites are concatenated; each is conditioned on one sample of the sites
        before it.
        """
        sites, _ = self.infer(features, context, mask, 1)
        # each mean is expanded to [B, *event], then flattened to [B, D]
        return torch.cat([site.q.mean.expand(site.z.shape[1:]).flatten(1) for site in sites], -1)

    @abstractmethod
    def generate(
        self, n: int, context: Tensor | None, generation: Generation | None = None
    ) -> Tensor:
        """Samples the prior.

        Args:
            n: the number of samples.
            context: ``[n, context_dim]``, or None.
            generation: the arguments of stepwise generation; None unless ``stepwise``.

        Returns:
            Codes ``[n, ...]``; if ``stepwise``, sequences of ``generation.steps`` steps.
        """

    def code(
        self, z: Tensor, context: Tensor | None = None, generation: Generation | None = None
    ) -> Tensor:
        """The codes ``[n, ...]`` of given latent vectors.

        Args:
            z: ``[n, D]``, as ``posterior_mean`` returns them.
            context: ``[n, context_dim]``, or None.
            generation: the arguments of stepwise generation; None unless ``stepwise``.

        Raises:
            NotImplementedError: a single vector does not determine the code.
        """
        raise NotImplementedError(f"{type(self).__name__} has no code for a single latent vector")


class Decoder(nn.Module, ABC):
    """Maps codes to the parameters of the likelihood.

    Wiring: ``in_shape``, the shape of one code, with the context if that is fused with it;
    ``out_shape``, the ``parameter_shape`` of the likelihood. Required: ``forward``.
    """

    @abstractmethod
    def forward(self, code: Tensor) -> Tensor:
        """From codes ``[N, *in_shape]`` to parameters ``[N, *out_shape]``."""


class Conditioner(nn.Module, ABC):
    """Maps a raw condition (a label, attributes or an image) to a context.

    Wiring: ``data``, a DataSpec. Required: ``forward``. Optional: ``unconditional_context``.
    """

    @abstractmethod
    def forward(self, condition: Tensor) -> Tensor:
        """From conditions to contexts.

        Args:
            condition: ``[B, *data.condition_shape]``; labels are int64, everything else is fp32.

        Returns:
            Vectors ``[B, E]`` or feature maps ``[B, E, H, W]``.
        """

    def unconditional_context(self, n: int) -> Tensor:
        """The contexts ``[n, ...]`` of n examples without a condition.

        Raises:
            ValueError: the model was not trained to work without a condition.
        """
        raise ValueError("this model is conditional: give a condition")
