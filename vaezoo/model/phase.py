"""One optimizer step within a training step: the loss, and the weights that it may change."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass

from torch import Tensor, nn

from vaezoo.data.batch import Batch
from vaezoo.model.optimization import Optimization
from vaezoo.model.protocol import GenerativeModel


@dataclass(frozen=True)
class Phase:
    """An optimizer step within a training step, with the parameters it may change.

    Attributes:
        name: shown in logs; the first phase is always ``model``.
        module: holds the parameters that this phase optimises; all others stay unchanged.
        loss: maps the model and a batch to the loss of each example ``[B]`` in nats, and terms to
            log.
        optimization: the optimizer, its learning-rate schedule and clipping; None uses those of
            the stage.
        every: the phase is stepped in each ``every``-th training step.
        moves: the number of its optimizer steps in such a training step: on the same batch, each
            with noise of its own.
        start: the first training step in which it is stepped, counted from 0 in each stage.
    """

    name: str
    module: nn.Module
    loss: Callable[[GenerativeModel, Batch], tuple[Tensor, Mapping[str, Tensor]]]
    _: KW_ONLY
    optimization: Optimization | None = None
    every: int = 1
    moves: int = 1
    start: int = 0

    def is_due(self, step: int) -> bool:
        """Whether the phase is stepped in a training step, counted from 0 in each stage."""
        return step >= self.start and (step - self.start) % self.every == 0

    def count_moves(self, steps: int) -> int:
        """The number of its optimizer steps in the first ``steps`` training steps of a stage."""
        return self.moves * max(0, -(-(steps - self.start) // self.every))
