"""The component kinds that define a training loss.

A plugin subclasses ``Objective``, ``Regularizer`` or ``Schedule``. The loss of an example is

    loss = objective(trace) + sum of weight * regularizer(trace) over the regularizers,

in nats, and the trainer minimises its mean over the batch. As for every component, the
positional-only parameter of a constructor is its wiring, passed by the composer, and its
keyword-only parameters are its YAML options. Shapes: K samples of the posterior, B examples.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from vaezoo.data.batch import Batch
from vaezoo.model.component import Component
from vaezoo.model.protocol import GenerativeModel
from vaezoo.model.trace import Trace


class Objective(Component, ABC):
    """Maps a trace to the loss of each example, before regularizers are added.

    Wiring: a ``TaskWiring``. Required: ``forward``. Optional: ``trace``, ``bound``, ``weights``;
    ``after_step``, to adapt itself.
    """

    num_samples: int = 1
    """The number K of posterior samples that the trace must contain."""

    rescales_gradients: bool = False
    """Whether it rescales the gradients of ``Site.z``. Those of regularizers would be rescaled
    too, so the composer refuses to combine it with any regularizer; and it refuses latents whose
    posterior depends on earlier samples, or whose code is not computed from ``Site.z``."""

    detaches_posterior: bool = False
    """Whether it holds the parameters of q constant, so that gradients reach the posterior through
    its samples only. The composer then refuses latents of which that cannot be said."""

    decodes: ClassVar[bool] = True
    """Whether its trace has a likelihood. Without, there is neither distortion nor ELBO, and
    ``bound`` selects the weights."""

    loss_includes_rate: ClassVar[bool] = False
    """Whether the loss includes the rate. The composer then refuses a regularizer that
    ``penalizes_rate``, and a model whose rate is not defined."""

    requires_exact_density: ClassVar[bool] = False
    """Whether it uses importance weights. The composer then refuses a model with a latent variable
    whose density is only a bound."""

    requires_prior_density_only: ClassVar[bool] = False
    """Whether it uses the rate's log p(z) only, so that a posterior needs no density."""

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

    @property
    def current_weight(self) -> float | Tensor:
        """The weight at this training step: a number, or the value of the schedule."""
        return self.weight.value if isinstance(self.weight, Schedule) else self.weight

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


class Schedule(Component, ABC):
    """A number that changes during training: a function of the training step.

    Wiring: none. Required: ``forward``. Wherever it sits in the model or the task, ``value`` is
    updated once before each training step of a stage that trains the part with the schedule.
    Afterwards it keeps its last value, which is stored with the weights.

    Attributes:
        value: the number at this training step, a 0-dim tensor. Use it in a pass, not ``float`` of
            it, which would wait for the device and compile the step again for every value.
    """

    value: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("value", torch.zeros(()))

    @abstractmethod
    def forward(self, step: int) -> float | Tensor:
        """The value at a training step, counted from 0 in each stage; a float or a 0-dim tensor.

        State that must survive a resume belongs in buffers. A schedule that adapts itself changes
        them in ``after_step``.
        """

    @torch.no_grad()
    def set_step(self, step: int) -> None:
        """Sets ``value`` to that of a training step; called once before each step."""
        self.value.fill_(self(step))
