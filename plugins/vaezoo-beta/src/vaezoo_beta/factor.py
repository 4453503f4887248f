"""FactorVAE: the total correlation of z, measured by a discriminator.

Shapes: B examples, D latent dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated

import torch
import torch.nn.functional as F
from annotated_types import Gt
from torch import Tensor, nn

import vaezoo
from vaezoo_beta.kl import single_site

_SLOPE = 0.2  # slope of the leaky ReLUs below 0, as in the paper's appendix A


class Factor(vaezoo.Regularizer):
    """The total correlation of q(z), estimated as a density ratio (Kim & Mnih 2018, eq. 2 and 3).

    A discriminator learns to distinguish samples of q(z) from samples of Π_d q(z_d), obtained by
    shuffling each dimension over the batch (algorithms 1 and 2). Its logit estimates log q(z) -
    log Π_d q(z_d), and the mean logit of samples of q(z) is the penalty. Use it together with
    ``kl``.

    Args:
        weight: gamma; the paper's best values on dSprites are 35 to 40.
        width: the width of each hidden layer of the discriminator.
        layers: the number of hidden layers of the discriminator.
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
        latent_dim = sum(space.dimensions for space in wiring.spaces)
        sizes = [latent_dim, *[width] * layers]
        hidden = [(nn.Linear(*pair), nn.LeakyReLU(_SLOPE)) for pair in pairwise(sizes)]
        self.discriminator = nn.Sequential(
            *(layer for pair in hidden for layer in pair), nn.Linear(width, 1)
        )

    def forward(self, trace: vaezoo.Trace) -> Tensor:
        """The logits of z, an estimate of the total correlation in nats, ``[B]``.

        Raises:
            ValueError: the model has more than one latent vector.
        """
        return trace.mean(self.logits(single_site(trace).z))

    def logits(self, z: Tensor) -> Tensor:
        """Estimates of log q(z) - log Π_d q(z_d) by the discriminator, ``[*, D]`` to ``[*]``."""
        return self.discriminator(z).squeeze(-1)

    def phases(self) -> Sequence[vaezoo.Phase]:
        """One phase, which trains the discriminator."""

        def loss(
            model: vaezoo.GenerativeModel, batch: vaezoo.Batch
        ) -> tuple[Tensor, dict[str, Tensor]]:
            return self.discriminate(single_site(model.infer_detached(batch)).z[0])

        return (vaezoo.Phase("discriminator", self.discriminator, loss),)

    def discriminate(self, z: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The discriminator's cross-entropy in nats ``[B]`` for z ``[B, D]``, and its accuracy."""
        joint, product = self.logits(z), self.logits(shuffle_dimensions(z))
        loss = 0.5 * (F.softplus(-joint) + F.softplus(product))
        accuracy = 0.5 * ((joint > 0).float() + (product < 0).float())
        return loss, {"accuracy": accuracy}


def shuffle_dimensions(z: Tensor) -> Tensor:
    """Samples of Π_d q(z_d): permutes each dimension of z ``[B, D]`` over the batch."""
    return z.gather(0, torch.rand_like(z).argsort(0))
