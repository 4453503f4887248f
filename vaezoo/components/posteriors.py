"""Posteriors: from features to q(z|x)."""

from __future__ import annotations

import math
from typing import Annotated

from torch import Tensor, nn
from torch.distributions import Distribution

from vaezoo import distributions
from vaezoo.model.defaults import BeforeV2
from vaezoo.model.parts import Posterior
from vaezoo.model.wiring import PosteriorWiring


class DiagonalNormalPosterior(Posterior):
    """A normal with independent dimensions (Kingma & Welling 2014).

    One linear layer computes the mean and the log-variance; from a feature map to a latent map of
    the same size, it is applied at each position.

    The logarithm v of sigma that the layer gives is kept between two limits: log sigma = c +
    arctan(v - c), where c is v clipped to [minimum + π/2, maximum - π/2]; between these two it is
    v itself. Without an upper limit a large v, such as a step that is too long leaves behind, has
    a rate of exp(2 v) / 2 nats: 2e8 at v = 10. At a sigma below exp(-10) the noise of a sample is
    lost in the rounding of its mean in fp32. Means have no limit.

    Args:
        minimum, maximum: the limits of log sigma; null, as in v1 specs, sets no limit.
    """

    def __init__(
        self,
        wiring: PosteriorWiring,
        /,
        *,
        minimum: Annotated[float | None, BeforeV2(None)] = -10.0,
        maximum: Annotated[float | None, BeforeV2(None)] = 3.0,
    ) -> None:
        super().__init__()
        self.limit = distributions.LogScaleLimits(minimum, maximum)
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
            return distributions.DiagonalNormal(mean, self.limit(0.5 * log_variance))
        lead = h.shape[: h.dim() - self.in_dims]
        rows = h.reshape(-1, *h.shape[len(lead) :])  # [N, *in_shape]
        parameters = self.linear(rows if self.is_map else rows.flatten(1))
        mean, log_variance = (  # [*, *space.shape] each
            part.reshape(*lead, *self.shape) for part in parameters.chunk(2, 1)
        )
        return distributions.DiagonalNormal(mean, self.limit(0.5 * log_variance), len(self.shape))
