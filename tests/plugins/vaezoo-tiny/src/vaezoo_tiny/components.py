"""An encoder with batch normalisation, a critic on z, a one-hot label and a conditional prior.

The positional-only constructor parameter is set by vaezoo. Keyword-only parameters are the options
of a component in a spec; their annotations are checked, and their descriptions in ``Args:`` are
printed by ``vaezoo show``. Shapes: K samples, B examples, D latent dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
import torch.nn.functional as F
from annotated_types import Gt
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

import vaezoo
from vaezoo.nn import masked

Width = Annotated[int, Gt(0)]


class TinyEncoder(vaezoo.Encoder):
    """One hidden layer with batch normalisation.

    Args:
        width: the number of hidden units.
    """

    def __init__(self, wiring: vaezoo.EncoderWiring, /, *, width: Width = 32) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.LazyLinear(width), nn.BatchNorm1d(width), nn.ReLU())

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, ...]:
        """From ``[B, *in_shape]`` to one feature vector ``[B, width]``."""
        return (self.net(masked(x, mask).flatten(1)),)


class TinyCritic(vaezoo.Regularizer):
    """Matches the aggregate posterior to the prior by a critic on z (Makhzani et al. 2016).

    Args:
        weight: the weight of the penalty.
        width: the number of hidden units of the critic.
    """

    def __init__(
        self,
        wiring: vaezoo.TaskWiring,
        /,
        *,
        weight: float | vaezoo.Schedule = 1.0,
        width: Width = 16,
    ) -> None:
        super().__init__(weight)
        self.critic = nn.Sequential(
            nn.Linear(wiring.spaces[0].dimensions, width),
            nn.BatchNorm1d(width),
            nn.ReLU(),
            nn.Linear(width, 1),
        )

    def forward(self, trace: vaezoo.Trace) -> Tensor:
        """The encoder's loss in nats ``[B]``, at the first of K samples."""
        z = trace.sites[0].z[0]  # [B, D]
        self.critic.eval()  # the model's phase must not change the critic's batch statistics
        logits = self.critic(z)[:, 0]
        self.critic.train(self.training)
        return F.softplus(-logits)

    def phases(self) -> Sequence[vaezoo.Phase]:
        """One phase, which trains the critic to tell samples of the prior from those of q(z|x)."""

        def critic_loss(
            model: vaezoo.GenerativeModel, batch: vaezoo.Batch
        ) -> tuple[Tensor, dict[str, Tensor]]:
            site = model.infer_detached(batch).sites[0]
            real = self.critic(site.prior_sample()[0])[:, 0]  # [B]
            fake = self.critic(site.z[0])[:, 0]  # [B]
            return F.softplus(-real) + F.softplus(fake), {}

        return (vaezoo.Phase("critic", self.critic, critic_loss),)


class TinyLabel(vaezoo.Conditioner):
    """A one-hot label."""

    def __init__(self, wiring: vaezoo.Wiring, /) -> None:
        super().__init__()
        self.classes = len(wiring.data.classes)

    def forward(self, condition: Tensor) -> Tensor:
        """From labels ``[B]`` to contexts ``[B, classes]``."""
        return F.one_hot(condition, self.classes).float()


class TinyPrior(vaezoo.Prior):
    """A normal with unit variance and a learned mean for each context."""

    conditional = True

    def __init__(self, wiring: vaezoo.PriorWiring, /) -> None:
        super().__init__()
        self.mean = nn.Linear(wiring.context_dim, wiring.space.dimensions)

    def forward(self, context: Tensor | None, model: vaezoo.GenerativeModel) -> Distribution:
        """From contexts ``[B, E]`` to normals ``[B]`` over ``[D]``."""
        mean = self.mean(context)
        normal = Normal(mean, torch.ones_like(mean), validate_args=False)
        return Independent(normal, 1, validate_args=False)
