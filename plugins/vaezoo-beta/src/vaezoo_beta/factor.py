"""FactorVAE: a discriminator tells codes from codes whose dimensions were shuffled, and so measures what they share."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated

import torch
import torch.nn.functional as F
from annotated_types import Gt
from torch import Tensor, nn

import vaezoo
from vaezoo_beta.kl import one_vector

_SLOPE = 0.2  # of the leaky ReLUs, as in the paper's appendix A


class Factor(vaezoo.Regularizer):
    """The total correlation of q(z) by a density ratio (Kim & Mnih 2018, eq. 2 and 3). It stands beside ``kl``.

    A discriminator learns log q(z) - log Π_d q(z_d) as the logit of codes against codes whose dimensions were each
    shuffled over the batch (algorithms 1 and 2); the mean logit of codes is the penalty.

    Args:
        weight: gamma; the paper's best on dSprites are 35 to 40.
        width: of each hidden layer of the discriminator.
        layers: how many hidden layers it has.
    """

    def __init__(
        self,
        wiring: vaezoo.TaskWiring,
        /,
        *,
        weight: float | vaezoo.Schedule = 10.0,
        width: Annotated[int, Gt(0)] = 1000,
        layers: Annotated[int, Gt(0)] = 6,
    ) -> None:
        super().__init__(weight)
        sizes = [wiring.latent_dim, *[width] * layers]
        hidden = [(nn.Linear(*pair), nn.LeakyReLU(_SLOPE)) for pair in pairwise(sizes)]
        self.discriminator = nn.Sequential(*(layer for pair in hidden for layer in pair), nn.Linear(width, 1))

    def forward(self, trace: vaezoo.Trace) -> Tensor:
        """The logit of each example's code, an estimate of the total correlation in nats, ``[B]``.

        Raises:
            ValueError: there is not one latent vector.
        """
        return self.logits(one_vector(trace).z).mean(0)

    def logits(self, z: Tensor) -> Tensor:
        """log q(z) - log Π_d q(z_d) as the discriminator sees it, from ``[*, D]`` to ``[*]``."""
        return self.discriminator(z).squeeze(-1)

    def phases(self, model: vaezoo.Model) -> Sequence[vaezoo.Phase]:
        """The discriminator's move."""

        def loss(batch: vaezoo.Batch) -> tuple[Tensor, dict[str, Tensor]]:
            return self.discriminate(one_vector(model.infer_detached(batch)).z[0])

        return (vaezoo.Phase("discriminator", self.discriminator, loss),)

    def discriminate(self, z: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The discriminator's loss for codes ``[B, D]``: cross-entropy in nats, ``[B]``, and its accuracy."""
        joint, product = self.logits(z), self.logits(shuffled(z))
        loss = 0.5 * (F.softplus(-joint) + F.softplus(product))
        right = 0.5 * ((joint > 0).float() + (product < 0).float())
        return loss, {"accuracy": right}


def shuffled(z: Tensor) -> Tensor:
    """Codes ``[B, D]`` with each dimension permuted over the batch by itself: samples of Π_d q(z_d)."""
    return z.gather(0, torch.rand_like(z).argsort(0))
