"""Regularizers: the KL divergence of the posterior from the prior."""

from __future__ import annotations

from torch import Tensor

from vaezoo.model.objectives import Regularizer, Schedule
from vaezoo.model.trace import Trace
from vaezoo.model.wiring import TaskWiring


class KL(Regularizer):
    """The rate KL(q(z|x) || p(z)), summed over latent variables.

    Args:
        weight: beta, a number or a schedule; 1 gives the ELBO.
    """

    penalizes_rate = True

    def __init__(self, wiring: TaskWiring, /, *, weight: float | Schedule = 1.0) -> None:
        super().__init__(weight)

    def forward(self, trace: Trace) -> Tensor:
        """The rate of each example, ``[B]``."""
        return trace.mean_rate
