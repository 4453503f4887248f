"""Posteriors: from features to q(z|x)."""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.distributions import Distribution

from vaezoo import distributions
from vaezoo.model.parts import Posterior
from vaezoo.model.wiring import PosteriorWiring


class DiagonalNormalPosterior(Posterior):
    """A normal with independent dimensions (Kingma & Welling 2014).

    One linear layer computes the mean and the log-variance; from a feature map to a latent map of
    the same size, it is applied at each position.
    """

    def __init__(self, wiring: PosteriorWiring, /) -> None:
        super().__init__()
        in_shape, self.shape = wiring.in_shape, wiring.space.shape
        self.in_dims = len(in_shape)
        self.linear: nn.Module
        self.is_map = len(in_shape) == len(self.shape) == 3 and in_shape[1:] == self.shape[1:]
        if self.is_map:
            self.linear = nn.Conv2d(in_shape[0], 2 * self.shape[0], 1)
        else:
            self.linear = nn.Linear(math.prod(in_shape), 2 * math.prod(self.shape))

    def forward(self, h: Tensor) -> Distribution:
        """From ``[*, *in_shape]`` to normals ``[*]`` over ``space.shape``."""
        if self.in_dims == len(self.shape) == 1:
            mean, log_variance = self.linear(h).chunk(2, -1)  # [*, D] each
            return distributions.DiagonalNormal(mean, 0.5 * log_variance)
        lead = h.shape[: h.dim() - self.in_dims]
        rows = h.reshape(-1, *h.shape[len(lead) :])  # [N, *in_shape]
        parameters = self.linear(rows if self.is_map else rows.flatten(1))
        mean, log_variance = (  # [*, *space.shape] each
            part.reshape(*lead, *self.shape) for part in parameters.chunk(2, 1)
        )
        return distributions.DiagonalNormal(mean, 0.5 * log_variance, len(self.shape))
