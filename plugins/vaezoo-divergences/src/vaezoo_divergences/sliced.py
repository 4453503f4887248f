"""The sliced Wasserstein distance between the codes of a batch and samples of the prior."""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from annotated_types import Ge
from torch import Tensor

import vaezoo
from vaezoo_divergences.codes import codes_and_samples


class SlicedWasserstein(vaezoo.Regularizer):
    """The squared 2-Wasserstein distance of q(z) and p(z) along random directions, averaged.

    SWAE (Kolouri et al. 2019, eq. 15). Along a direction, the codes of the batch and as many
    samples of the prior are sorted; the distance is the mean of the squared differences. It is in
    squared units of z; a weight turns it into nats. Finite batches of equal distributions have a
    distance above 0.

    Args:
        directions: the number of random directions in each step.
        weight: the weight of the penalty.
    """

    pools_examples = True

    def __init__(
        self,
        wiring: vaezoo.TaskWiring,
        /,
        *,
        directions: Annotated[int, Ge(1)] = 50,
        weight: float | vaezoo.Schedule = 10.0,
    ) -> None:
        super().__init__(weight)
        if any(space.support != "real" for space in wiring.spaces):
            raise ValueError("sorts along directions of real vectors")
        self.directions = directions

    def forward(self, trace: vaezoo.Trace) -> Tensor:
        """The same estimate for each example, averaged over K samples, ``[B]``.

        Raises:
            ValueError: a latent variable has steps.
        """
        share, distances = vaezoo.BatchShare.current(), []
        for z, other in codes_and_samples(trace):
            random = torch.randn(self.directions, z.shape[-1], device=z.device)
            directions = share.of_main(F.normalize(random, dim=-1))
            distances.append(sliced_distance(z, other, directions).mean())
        return torch.stack(distances).sum().expand(len(trace.batch))


def sliced_distance(first: Tensor, second: Tensor, directions: Tensor) -> Tensor:
    """The mean squared difference of sorted projections.

    Args:
        first, second: vectors ``[*, M, D]``.
        directions: vectors of norm 1, ``[L, D]``.

    Returns:
        ``[*]``.
    """
    along = [(each @ directions.T).sort(dim=-2).values for each in (first, second)]  # [*, M, L]
    return (along[0] - along[1]).square().mean((-2, -1))
