"""An encoder with batch statistics, a critic on z, a label embedding and a conditional prior."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
import torch.nn.functional as F
from annotated_types import Gt
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

import vaezoo


class TinyEncoder(vaezoo.Encoder):
    """One hidden layer with batch normalisation.

    Args:
        width: of the layer.
    """

    def __init__(self, in_shape: tuple[int, ...], /, *, width: Annotated[int, Gt(0)] = 32) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.LazyLinear(width), nn.BatchNorm1d(width), nn.ReLU())

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, ...]:
        return (self.net(x.flatten(1)),)


class TinyCritic(vaezoo.Regularizer):
    """Matches the aggregate posterior to the prior by a critic that tells their samples apart.

    Args:
        weight: of the penalty.
        width: of the critic's layer.
    """

    def __init__(self, wiring: vaezoo.TaskWiring, /, *, weight: float | vaezoo.Schedule = 1.0, width: int = 16) -> None:
        super().__init__(weight)
        self.critic = nn.Sequential(
            nn.Linear(wiring.latent_dim, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, 1)
        )

    def forward(self, trace: vaezoo.Trace) -> Tensor:
        return F.softplus(-self._logits(trace.sites[0].z[0]))

    def phases(self, model: vaezoo.Model) -> Sequence[vaezoo.Phase]:
        def loss(batch: vaezoo.Batch) -> tuple[Tensor, dict[str, Tensor]]:
            site = model.infer_detached(batch).sites[0]
            real = site.prior_sample()[0]
            return F.softplus(-self.critic(real)[:, 0]) + F.softplus(self.critic(site.z[0])[:, 0]), {}

        return (vaezoo.Phase("critic", self.critic, loss),)

    def _logits(self, z: Tensor) -> Tensor:
        self.critic.eval()  # another player's statistics
        logits = self.critic(z)[:, 0]
        self.critic.train(self.training)
        return logits


class TinyLabel(vaezoo.Conditioner):
    """A one-hot label."""

    def __init__(self, data: vaezoo.DataSpec, /) -> None:
        super().__init__()
        self.classes = len(data.classes)

    def forward(self, condition: Tensor) -> Tensor:
        return F.one_hot(condition, self.classes).float()


class TinyPrior(vaezoo.Prior):
    """A normal with a learned mean for each context."""

    conditional = True

    def __init__(self, latent_dim: int, context_dim: int, /) -> None:
        super().__init__()
        self.mean = nn.Linear(context_dim, latent_dim)

    def forward(self, h: Tensor | None) -> Distribution:
        mean = self.mean(h)
        return Independent(Normal(mean, torch.ones_like(mean), validate_args=False), 1, validate_args=False)
