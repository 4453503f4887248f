"""The kinds that make a loss: objectives, regularizers, schedules; and the phases of a training step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from vaezoo.data.batch import Batch
from vaezoo.model.model import Model
from vaezoo.model.trace import Terms, Trace


class Objective(nn.Module, ABC):
    """A trace to a loss. Wiring: none."""

    num_samples: int = 1
    """How many posterior samples K the trace must hold."""

    rescales_gradients: bool = False
    """Whether it rescales the gradients of latents, and a regularizer's with them: then none may stand beside it."""

    self_tuning: ClassVar[bool] = False
    """Whether ``update`` does anything."""

    loss_includes_rate: ClassVar[bool] = False
    """Whether the rate is already in the loss; the composer then refuses a regularizer that ``penalizes_rate``."""

    @abstractmethod
    def forward(self, trace: Trace) -> Tensor:
        """The loss of each example, ``[B]``, in nats."""

    def bound(self, trace: Trace) -> Tensor:
        """The bound on log p(x) that it optimises, ``[B]``: the ELBO, unless it knows a tighter one."""
        return -(trace.mean_distortion + trace.mean_rate)

    def update(self, terms: Terms) -> None:
        """Hears the scalar terms of each step, still on the device; for objectives that tune themselves."""
        return

    def weights(self) -> Mapping[str, float | Tensor]:
        """The weights inside it that move, by name, for the log."""
        return {}


class Regularizer(nn.Module, ABC):
    """A trace to a penalty; may own a second player. Wiring: ``wiring``, a TaskWiring.

    Requirements: ``__init__`` calls ``super().__init__(weight)``.
    """

    penalizes_rate: ClassVar[bool] = False
    """Whether the penalty contains the rate."""

    has_score: ClassVar[bool] = False
    """Whether it can ``score`` latents."""

    def __init__(self, weight: float | Schedule) -> None:
        super().__init__()
        self.weight = weight

    def weight_at(self, step: int) -> float | Tensor:
        """The weight at an optimizer step, counted from 0; asked for once before each."""
        return self.weight(step) if isinstance(self.weight, Schedule) else self.weight

    @abstractmethod
    def forward(self, trace: Trace) -> Tensor:
        """The unweighted penalty of each example, ``[B]``, in nats."""

    def score(self, trace: Trace) -> Tensor:
        """How unlike draws of the prior the latents of each example look to its player, ``[B]``, if it judges."""
        raise NotImplementedError(f"{type(self).__name__} judges no latents")

    def phases(self, model: Model) -> Sequence[Phase]:
        """Moves beside the model's own, such as a critic's.

        A critic's loss must not train the model: take its latents from ``model.infer_detached``, which infers without
        gradients, skips the decoder and leaves buffers as they were.
        """
        return ()


class Schedule(nn.Module, ABC):
    """A weight over time. Wiring: none. State that must survive a resume belongs in buffers."""

    self_tuning: ClassVar[bool] = False
    """Whether ``update`` does anything."""

    @abstractmethod
    def forward(self, step: int) -> float | Tensor:
        """The weight at an optimizer step, counted from 0."""

    def update(self, terms: Terms) -> None:
        """Hears the scalar terms of each step, still on the device; for schedules that tune themselves."""
        return


@dataclass(frozen=True)
class Phase:
    """One player's move in a training step.

    Attributes:
        name: shown in logs; the first phase is always ``model``.
        module: the weights this move may change; no other weight is touched.
        loss: from a batch to the loss of each example ``[B]`` in nats, and terms to log.
    """

    name: str
    module: nn.Module
    loss: Callable[[Batch], tuple[Tensor, Terms]]
