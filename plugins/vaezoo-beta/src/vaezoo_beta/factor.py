"""FactorVAE: the total correlation of z, measured by a discriminator.

Shapes: M examples of a batch, B of them in this process (M in a single process), D latent
dimensions.
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
_PUBLISHED = vaezoo.Optimization.model_validate(
    {"optimizer": {"type": "adam", "lr": 1e-4, "betas": [0.5, 0.9]}}
)
"""Of the discriminator, from appendix A."""


class Factor(vaezoo.Regularizer):
    """The total correlation of q(z), estimated as a density ratio (Kim & Mnih 2018, eq. 2 and 3).

    A discriminator learns to distinguish samples of q(z) from samples of Π_d q(z_d), obtained by
    shuffling each dimension over a batch (algorithms 1 and 2). Its logit estimates log q(z) - log
    Π_d q(z_d), and the mean logit of samples of q(z) is the penalty. Use it together with ``kl``.

    Args:
        weight: gamma; the paper's best values on dSprites are 35 to 40.
        width: the width of each hidden layer of the discriminator.
        layers: the number of hidden layers of the discriminator.
        second_batch: shuffle a second batch, as in algorithm 1, and not the samples of q(z) that
            they are compared with. It is cut from the batch: of 2m examples, every other one
            belongs to the second batch of m, while the model is trained with all 2m. Otherwise,
            and by default in ``vaezoo/v1``, each example is used both ways.
        optimization: of the discriminator; by default the paper's. Without, and by default in
            ``vaezoo/v1``, that of the stage.
    """

    pools_examples = True

    def __init__(
        self,
        wiring: vaezoo.TaskWiring,
        /,
        *,
        weight: float | vaezoo.Schedule = 10.0,
        width: Annotated[int, Gt(0)] = 1000,
        layers: Annotated[int, Gt(0)] = 6,
        second_batch: Annotated[bool, vaezoo.BeforeV2(False)] = True,
        optimization: Annotated[vaezoo.Optimization | None, vaezoo.BeforeV2(None)] = _PUBLISHED,
    ) -> None:
        super().__init__(weight)
        self.second_batch, self.optimization = second_batch, optimization
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

        name, module = "discriminator", self.discriminator
        return (vaezoo.Phase(name, module, loss, optimization=self.optimization),)

    def discriminate(self, z: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The discriminator's cross-entropy in nats ``[B]`` for z ``[B, D]``, and its accuracy.

        Its mean is half the mean over samples of q(z), plus half that over shuffled ones.
        """
        share = vaezoo.BatchShare.current()
        codes = share.gather(z)  # [M, D]
        if self.second_batch:
            return self._compare(*_two_batches(codes, share))
        joint, product = self.logits(z), self.logits(shuffle_dimensions(codes, share)[share.own])
        loss = 0.5 * (F.softplus(-joint) + F.softplus(product))
        accuracy = 0.5 * ((joint > 0).float() + (product < 0).float())
        return loss, {"accuracy": accuracy}

    def _compare(
        self, codes: Tensor, is_joint: Tensor, weight: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy and accuracy for codes ``[B, D]`` of two batches, see ``_two_batches``."""
        logits = self.logits(codes)
        logits = torch.where(is_joint, logits, -logits)  # positive where it is right
        return weight * F.softplus(-logits), {"accuracy": weight * (logits > 0)}


def _two_batches(codes: Tensor, share: vaezoo.BatchShare) -> tuple[Tensor, Tensor, Tensor]:
    """Every other example of a batch as it is, and the remaining ones shuffled.

    Args:
        codes: of the whole batch, ``[M, D]``.
        share: of this process.

    Returns:
        For this process's examples: the codes ``[B, D]``; whether each is a sample of q(z), and
        not one of Π_d q(z_d), ``[B]``; and the weight ``[B]`` that gives both kinds half of all.
    """
    total = len(codes)
    shuffled = shuffle_dimensions(codes[1::2], share)
    codes = codes.index_copy(0, torch.arange(1, total, 2, device=codes.device), shuffled)
    is_joint = torch.arange(total, device=codes.device) % 2 == 0
    first = -(-total // 2)
    weight = torch.where(is_joint, total / (2 * first), total / (2 * max(1, total - first)))
    return codes[share.own], is_joint[share.own], weight[share.own]


def shuffle_dimensions(z: Tensor, share: vaezoo.BatchShare | None = None) -> Tensor:
    """Samples of Π_d q(z_d): permutes each dimension of z ``[M, D]`` over the batch.

    Args:
        z: codes of the whole batch.
        share: of this process, so that all processes permute alike; None is this process alone.
    """
    order = torch.rand_like(z).argsort(0)
    return z.gather(0, order if share is None else share.of_main(order))
