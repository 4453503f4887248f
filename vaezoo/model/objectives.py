"""The component kinds that define a training loss, and the phases of a training step.

A plugin subclasses ``Objective``, ``Regularizer`` or ``Schedule``. The loss of an example is

    loss = objective(trace) + sum of weight * regularizer(trace) over the regularizers,

in nats, and the trainer minimises its mean over the batch. As for every component, the
positional-only parameter of a constructor is its wiring, passed by the composer, and its
keyword-only parameters are its YAML options. Shapes: K samples of the posterior, B examples.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from vaezoo.data.batch import Batch
from vaezoo.model.component import Component
from vaezoo.model.protocol import GenerativeModel
from vaezoo.model.trace import Terms, Trace


class Objective(Component, ABC):
    """Maps a trace to the loss of each example, before regularizers are added.

    Wiring: a ``TaskWiring``. Required: ``forward``. Optional: ``trace``, ``bound``, ``update``,
    ``weights``.
    """

    num_samples: int = 1
    """The number K of posterior samples that the trace must contain."""

    rescales_gradients: bool = False
    """Whether it rescales the gradients of the latents. Those of regularizers would be rescaled
    too, so the composer refuses to combine it with any regularizer."""

    self_tuning: ClassVar[bool] = False
    """Whether the trainer calls ``update`` after each step."""

    loss_includes_rate: ClassVar[bool] = False
    """Whether the loss includes the rate. The composer then refuses a regularizer that
    ``penalizes_rate``, and a model whose rate is not defined."""

    requires_exact_density: ClassVar[bool] = False
    """Whether it uses importance weights. The composer then refuses a model with a latent variable
    whose density is only a bound."""

    def trace(self, model: GenerativeModel, batch: Batch) -> Trace:
        """The pass over a batch that the loss is computed from.

        By default the model infers ``num_samples`` samples and decodes them. An objective may
        fix or enumerate latent variables, or weight the samples.
        """
        trace: Trace = model(batch, self.num_samples)
        return trace

    @abstractmethod
    def forward(self, trace: Trace) -> Tensor:
        """The loss of each example in nats, ``[B]``.

        Args:
            trace: what ``trace`` returned; ``trace.model`` is the model of this pass.
        """

    def bound(self, trace: Trace) -> Tensor:
        """The lower bound on log p(x) that it maximises, ``[B]``: the ELBO by default."""
        return trace.mean_elbo

    def update(self, terms: Terms) -> None:
        """Adapts its own buffers after a step; called only if ``self_tuning``.

        Args:
            terms: the batch means of ``loss`` and of every logged term. They are scalars on the
                device of the model; reading them as Python numbers would wait for the device.
        """
        return

    def weights(self) -> Mapping[str, float | Tensor]:
        """The weights inside it that change during training, by name, for the log."""
        return {}


class Regularizer(Component, ABC):
    """Maps a trace to a penalty for each example; may train networks of its own in extra phases.

    Wiring: a ``TaskWiring``. Required: ``forward``, and an ``__init__`` that takes the option
    ``weight: float | vaezoo.Schedule`` and calls ``super().__init__(weight)``. Optional:
    ``phases`` for an adversary, ``score`` with ``has_score``; ``eager`` if it differentiates
    within a pass.
    """

    penalizes_rate: ClassVar[bool] = False
    """Whether the penalty includes the rate. The composer then refuses a model whose rate is not
    defined."""

    has_score: ClassVar[bool] = False
    """Whether it implements ``score``."""

    def __init__(self, weight: float | Schedule) -> None:
        super().__init__()
        self.weight = weight

    def weight_at(self, step: int) -> float | Tensor:
        """The weight at an optimizer step, counted from 0; called once before each step."""
        return self.weight(step) if isinstance(self.weight, Schedule) else self.weight

    @abstractmethod
    def forward(self, trace: Trace) -> Tensor:
        """The penalty of each example in nats, before weighting, ``[B]``.

        Args:
            trace: the pass; ``trace.model`` is the model of this pass.
        """

    def score(self, trace: Trace) -> Tensor:
        """How much the latents of each example differ from prior samples, ``[B]``.

        The score is computed by its own network, such as a critic; larger means less alike.

        Raises:
            NotImplementedError: it has no such network.
        """
        raise NotImplementedError(f"{type(self).__name__} cannot score latents")

    def phases(self) -> Sequence[Phase]:
        """Optimizer steps that follow the model's own, such as a critic's. None by default.

        The loss of such a phase must not train the model. Take latents from
        ``model.infer_detached``, which infers without gradients, skips the decoder and changes
        no buffer.
        """
        return ()


class Schedule(Component, ABC):
    """Maps an optimizer step to a weight.

    Wiring: none. Required: ``forward``. State that must survive a resume belongs in buffers.
    """

    self_tuning: ClassVar[bool] = False
    """Whether the trainer calls ``update`` after each step."""

    @abstractmethod
    def forward(self, step: int) -> float | Tensor:
        """The weight at an optimizer step, counted from 0; a float or a 0-dim tensor."""

    def update(self, terms: Terms) -> None:
        """Adapts its own buffers after a step; called only if ``self_tuning``.

        Args:
            terms: as for ``Objective.update``.
        """
        return


@dataclass(frozen=True)
class Phase:
    """One optimizer step within a training step, with the parameters it may change.

    Attributes:
        name: shown in logs; the first phase is always ``model``.
        module: holds the parameters that this phase optimises; all others stay unchanged.
        loss: maps the model and a batch to the loss of each example ``[B]`` in nats, and terms to
            log.
    """

    name: str
    module: nn.Module
    loss: Callable[[GenerativeModel, Batch], tuple[Tensor, Terms]]
