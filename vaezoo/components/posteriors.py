"""Posteriors: from features to q(z|x)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.distributions import Distribution

from vaezoo import distributions
from vaezoo.model.parts import Posterior


class DiagonalNormalPosterior(Posterior):
    """A normal with independent dimensions (Kingma & Welling 2014).

    One linear layer computes the mean and the log-variance.
    """

    def __init__(self, in_features: int, latent_dim: int, /) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, 2 * latent_dim)

    def forward(self, h: Tensor) -> Distribution:
        """From ``[N, in_features]`` to N normals over ``[latent_dim]``."""
        mean, log_variance = self.linear(h).chunk(2, -1)
        return distributions.DiagonalNormal(mean, 0.5 * log_variance)
