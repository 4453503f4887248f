"""The component kinds that make up a model: one abstract class per kind, each with its contract.

A plugin subclasses one of them and implements ``forward``. (``Latents`` has a module of its own.)
The constructor of a component is its schema:

- Its only positional-only parameter (before ``/``) is its wiring, which the composer passes.
- Keyword-only parameters are its YAML options, checked against their annotations.

Shapes: K samples of the posterior, B examples, E scalars of a context, N any number of rows (K * B
or B), ``*`` any leading dimensions. Event and batch shapes are those of
``torch.distributions``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution

from vaezoo.data.dataspec import Shape
from vaezoo.data.supports import BOUNDED
from vaezoo.model.component import Component
from vaezoo.model.protocol import GenerativeModel
from vaezoo.model.trace import Trace, sum_event_dims
from vaezoo.model.wiring import Wiring
from vaezoo.nn import masked


class Encoder(Component, ABC):
    """Maps data to features.

    Wiring: an ``EncoderWiring``. Required: ``forward``.
    """

    takes_vectors: ClassVar[bool] = False
    """Whether it flattens its input to a vector. A context is then fused once with that vector and
    not with every pixel or step."""

    takes_parts: ClassVar[bool] = False
    """Whether its input is a mapping, for data of several parts."""

    @abstractmethod
    def forward(self, x: Any, mask: Any = None) -> tuple[Tensor, ...]:
        """Encodes a batch.

        Args:
            x: ``[B, *in_shape]``; with ``takes_parts`` a mapping with the data of each part, which
                is 0 where the part is missing.
            mask: True where ``x`` is observed, ``[B, *leading dimensions of in_shape]``; None
                means everywhere. Values that the mask hides must not change the result. With
                ``takes_parts`` a mapping with the masks of the parts that have one, or None.

        Returns:
            One or more features ``[B, ...]``, fine to coarse.
        """


class Posterior(Component, ABC):
    """Maps features to the posterior q(z|x) of one latent variable.

    Wiring: a ``PosteriorWiring``. Required: ``forward``.
    """

    support: ClassVar[str] = "real"
    """The support of its samples, as in ``Space``."""

    @abstractmethod
    def forward(self, h: Tensor) -> Distribution:
        """From features ``[*, *in_shape]`` in fp32 to a distribution over z.

        Returns:
            A distribution with batch shape ``[*]`` and event shape ``space.shape``. The built-in
            latents sample it with ``rsample``.
        """


class Prior(Component, ABC):
    """Defines the prior p(z), or p(z|context), of one latent variable.

    Wiring: a ``PriorWiring``. Required: ``forward``. Optional: ``fit``, for use as a sampler.
    """

    supports: ClassVar[frozenset[str]] = frozenset({"real"})
    """The supports of the spaces, as in ``Space``, that it can be a distribution over."""

    conditional: ClassVar[bool] = False
    """Whether it can use a context. If not, the composer refuses ``into: [prior]``."""

    @abstractmethod
    def forward(self, context: Tensor | None, model: GenerativeModel) -> Distribution:
        """From contexts ``[B, E]``, or None, to a distribution over z.

        Args:
            context: the contexts of the prior.
            model: the model of this pass, for example to encode pseudo-inputs.

        Returns:
            A distribution with event shape ``space.shape`` and batch shape ``[B]``, or ``[]`` if
            it does not depend on the context. If its ``log_prob`` is only a lower bound, it says
            so by the attribute ``density = "bound"``; without a ``log_prob`` it is
            ``vaezoo.distributions.Implicit`` or has ``density = "none"``.
        """

    def fit(self, codes: Tensor, context: Tensor | None) -> None:
        """Fits the distribution to latent variables of the training split, after training.

        It is called, without gradients and in the main process only, for the priors that a spec
        lists under ``samplers`` and no stage trains; the result is copied to other processes.

        Args:
            codes: one sample of the posterior for each training example, or, of a variable at
                every step, for each step that exists: ``[n, *space.shape]``.
            context: the context of each code, ``[n, E]``; None if the prior receives none.

        Raises:
            NotImplementedError: it cannot be fitted; a stage can train it instead.
        """
        raise NotImplementedError(f"{type(self).__name__} cannot be fitted; train it in a stage")


class Likelihood(Component, ABC):
    """Maps the decoder's output to the likelihood p(x|z).

    Wiring: a ``Wiring``. Required: ``forward``, and an ``__init__`` that calls
    ``super().__init__(wiring)``, which rejects data whose support is not in ``supports``.
    Optional: ``log_prob``, which owns the rules of masks, missing parts and missing cells;
    ``typical_extras``, ``is_normalised``, ``permitted_support`` and ``by_part``. The event
    dimensions of the distribution must be the last ``event_dims`` dimensions of the data: those
    that the mask does not cover.
    """

    params_per_value: int = 1
    """The number of parameters that the decoder outputs for each scalar of data, stacked along the
    channel dimension (the last dimension of a sequence)."""

    supports: ClassVar[frozenset[str]] = frozenset({"binary", "unit", "real"})
    """The supports of data that it accepts."""

    draws_samples: ClassVar[bool] = False
    """Whether samples of a model are by default drawn from p(x|z), and not its mean: where the
    data has no mean, such as categories."""

    part_shapes: Mapping[str, Shape] = {}
    """For data of several parts, the ``parameter_shape`` of each part."""

    def __init__(self, wiring: Wiring, /) -> None:
        super().__init__()
        data = wiring.data
        if data.support not in self.supports:
            supported = " or ".join(sorted(self.supports))
            raise ValueError(f"needs {supported} data, but this data set is {data.support}")
        self.data = data
        self.event_dims = len(data.shape) - data.mask_dims

    @property
    def by_part(self) -> Mapping[str, Likelihood]:
        """The likelihood of each part by name; of data that is one tensor, itself under ``x``."""
        return {"x": self}

    @property
    def is_normalised(self) -> bool:
        """Whether p(x|z) is a normalised density, or a probability, of the data."""
        return True

    @property
    def permitted_support(self) -> str:
        """The support of the values that users may pass to a model with this likelihood.

        Binary data may be grey values, and one-hot data probabilities: means are both.
        """
        if "real" in self.supports:
            return "real"
        return "unit" if self.data.support in BOUNDED else self.data.support

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
    def forward(self, h: Tensor, extras: Mapping[str, Tensor]) -> Distribution:
        """From the decoder's output to a distribution over x.

        Args:
            h: ``[*, *parameter_shape]`` in fp32; the leading dimensions are ``[K, B]`` or ``[B]``.
            extras: the extras of the examples by name, ``[B, ...]``: those of the batch, or in a
                generation those that are given, or else ``typical_extras``.

        Returns:
            A distribution over data of shape ``[*, *data.shape]``.
        """

    def typical_extras(self, n: int) -> Mapping[str, Tensor]:
        """The extras ``[n, ...]`` of n generated examples for which none are given.

        A likelihood that needs extras can learn typical ones in ``initialise``.
        """
        return {}

    def log_prob(self, trace: Trace) -> Tensor:
        """log p(x|z) of each example in nats, ``[K, B]``, without what its mask hides.

        Args:
            trace: the pass, with the distribution ``px``, the batch, the code and the model.
        """
        assert trace.px is not None, "asked for only where the decoder ran"
        batch = trace.batch
        # NaN in what is hidden would reach the gradients although it is not counted
        return sum_event_dims(trace.px.log_prob(masked(batch.x, batch.mask)), batch.mask)

    def step_log_prob(self, trace: Trace) -> Tensor:
        """log p(x_t|z) of each step of sequences in nats, ``[K, B, T]``; 0 where it is hidden.

        Their sum is ``log_prob``. Where a mask covers cells, a step counts those that it shows.

        Args:
            trace: the pass, as for ``log_prob``.

        Raises:
            NotImplementedError: the data are no sequences.
        """
        if not self.data.is_sequence:
            raise NotImplementedError("only sequences have a score for each step")
        assert trace.px is not None, "asked for only where the decoder ran"
        batch = trace.batch
        log_p = trace.px.log_prob(masked(batch.x, batch.mask))  # [K, B, T] or [K, B, T, D]
        if batch.mask is not None:
            log_p = torch.where(batch.mask, log_p, torch.zeros((), device=log_p.device))
        return log_p.sum(-1) if self.event_dims == 0 else log_p

    def complete(self, trace: Trace) -> tuple[Tensor, Tensor]:
        """Draws what the mask hides from p(x|z), given what it does not hide.

        Args:
            trace: the pass, as for ``log_prob``.

        Returns:
            The examples ``[K, B, *shape]``, and the log-probability of what is observed given z in
            nats, ``[K, B]``: the weight with which a draw counts.
        """
        assert trace.px is not None, "asked for only where the decoder ran"
        drawn, mask = trace.px.sample(), trace.batch.mask
        if mask is None:
            return trace.batch.x.expand_as(drawn), self.log_prob(trace)
        shown = mask.reshape(*mask.shape, *[1] * (trace.batch.x.dim() - mask.dim()))
        return torch.where(shown, trace.batch.x, drawn), self.log_prob(trace)


class Decoder(Component, ABC):
    """Maps codes to the parameters of the likelihood.

    Wiring: a ``DecoderWiring``. Required: ``forward``.
    """

    @abstractmethod
    def forward(self, code: Tensor) -> Tensor:
        """From codes ``[N, *in_shape]`` to parameters ``[N, *out_shape]``."""


class Conditioner(Component, ABC):
    """Maps a raw condition (a label, attributes or an image) to a context.

    Wiring: a ``Wiring``. Required: ``forward``. Optional: ``unconditional_context``, ``complete``.
    """

    @abstractmethod
    def forward(self, condition: Tensor) -> Tensor:
        """From conditions to contexts.

        Args:
            condition: ``[B, *data.condition_shape]``; labels are int64, everything else is fp32.
                Labels below 0 are unknown, which only those with an ``unconditional_context`` get.

        Returns:
            Vectors ``[B, E]`` or feature maps ``[B, E, H, W]``.
        """

    def unconditional_context(self, n: int) -> Tensor:
        """The contexts ``[n, ...]`` of n examples without a condition.

        Raises:
            ValueError: the model was not trained to work without a condition.
        """
        raise ValueError("this model is conditional: give a condition")

    def complete(self, x: Any, condition: Tensor) -> Any:
        """Replaces what a condition shows of the data itself, as in inpainting.

        Args:
            x: generated or reconstructed data, ``[B, *data.shape]``; a mapping for several parts.
            condition: ``[B, *data.condition_shape]``.

        Returns:
            ``[B, *data.shape]``; ``x`` unless overridden.
        """
        return x
