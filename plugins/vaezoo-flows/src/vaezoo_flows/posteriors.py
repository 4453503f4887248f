"""Posteriors that are flows of a normal one: their parameters depend on the features."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

import torch
import zuko
from annotated_types import Ge, Gt
from torch import Tensor, nn
from torch.distributions import Distribution, Transform
from torch.distributions.transforms import AffineTransform
from zuko.transforms import ComposedTransform

import vaezoo
from vaezoo.distributions import LogScaleLimits
from vaezoo_flows.flow import Flow, normal_points
from vaezoo_flows.networks import start_as_identity, vector_size
from vaezoo_flows.planar import PlanarTransform


class _FlowPosterior(vaezoo.Posterior):
    """A normal whose mean and scale depend on the features, and what follows it.

    Args:
        wiring: of a posterior over vectors ``[D]``.
        outputs: how many numbers beside the mean and the scale are computed from the features.
    """

    points: Tensor

    def __init__(self, wiring: vaezoo.PosteriorWiring, outputs: int) -> None:
        super().__init__()
        self.size, self.in_dims = vector_size(wiring.space), len(wiring.in_shape)
        self.linear = nn.Linear(math.prod(wiring.in_shape), 2 * self.size + outputs)
        self.limit = LogScaleLimits(-10.0, 3.0)
        self.register_buffer("points", normal_points(self.size), persistent=False)

    def _heads(self, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mean and scale ``[*, D]``, and the other outputs, of features ``[*, *in_shape]``."""
        rows = h.flatten(h.dim() - self.in_dims)  # [*, in_features]
        mean, log_scale, others = self.linear(rows).split(
            [self.size, self.size, self.linear.out_features - 2 * self.size], -1
        )
        return mean, self.limit(0.5 * log_scale).exp(), others


class Planar(_FlowPosterior):
    """A normal that is bent by planar transforms (Rezende & Mohamed 2015, eq. 10).

    All parameters of the transforms are computed from the features. The rate is estimated by the
    samples of the posterior, in nats.

    Args:
        transforms: how many bends follow one another.
    """

    def __init__(
        self, wiring: vaezoo.PosteriorWiring, /, *, transforms: Annotated[int, Ge(1)] = 10
    ) -> None:
        super().__init__(wiring, transforms * (2 * wiring.space.dimensions + 1))
        self.transforms = transforms

    def forward(self, h: Tensor) -> Distribution:
        """From ``[*, *in_shape]`` to distributions ``[*]`` over vectors ``[D]``."""
        mean, scale, others = self._heads(h)
        bends: list[Transform] = []
        for part in others.chunk(self.transforms, -1):  # [*, 2 D + 1]
            u, w, b = part.split([self.size, self.size, 1], -1)
            bends.append(PlanarTransform(u, w, b.squeeze(-1)))
        return Flow(mean, scale, ComposedTransform(*bends), self.points)


class InverseAutoregressive(_FlowPosterior):
    """A normal followed by inverse autoregressive transforms (Kingma et al. 2016, section 3).

    Each transform scales and shifts a dimension by amounts that depend on the dimensions before it
    and on the features; the order is reversed from one to the next. A sample with its density
    takes one pass, the density of another value D passes. The transforms start as the identity.
    The rate is estimated by the samples of the posterior, in nats.

    Args:
        transforms: how many transforms follow one another.
        hidden: the sizes of the hidden layers of each transform's network.
        context: how many numbers of the features the networks get.
    """

    def __init__(
        self,
        wiring: vaezoo.PosteriorWiring,
        /,
        *,
        transforms: Annotated[int, Ge(1)] = 2,
        hidden: Sequence[Annotated[int, Gt(0)]] = (256,),
        context: Annotated[int, Ge(1)] = 64,
    ) -> None:
        super().__init__(wiring, context)
        flow = zuko.flows.MAF(self.size, context, transforms, hidden_features=hidden)
        self.transform = start_as_identity(flow.transform)

    def forward(self, h: Tensor) -> Distribution:
        """From ``[*, *in_shape]`` to distributions ``[*]`` over vectors ``[D]``."""
        mean, scale, context = self._heads(h)
        return Flow(mean, scale, self.transform(context), self.points)


class NeuralSpline(_FlowPosterior):
    """Noise through rational-quadratic splines, then scaled and shifted (Durkan et al. 2019).

    The splines change noise between -5 and 5; they couple two halves of the dimensions, so that a
    sample and a density take one pass each. Their parameters depend on the features. They start
    as the identity, so that the posterior starts as a normal. The rate is estimated by the samples
    of the posterior, in nats.

    Args:
        transforms: how many splines follow one another; every second one changes the other half.
        bins: the number of pieces of a spline.
        hidden: the sizes of the hidden layers of each spline's network.
        context: how many numbers of the features the networks get.
    """

    def __init__(
        self,
        wiring: vaezoo.PosteriorWiring,
        /,
        *,
        transforms: Annotated[int, Ge(1)] = 2,
        bins: Annotated[int, Ge(2)] = 8,
        hidden: Sequence[Annotated[int, Gt(0)]] = (128,),
        context: Annotated[int, Ge(1)] = 64,
    ) -> None:
        super().__init__(wiring, context)
        flow = zuko.flows.NSF(
            self.size, context, bins, transforms=transforms, passes=2, hidden_features=hidden
        )
        self.transform = start_as_identity(flow.transform)

    def forward(self, h: Tensor) -> Distribution:
        """From ``[*, *in_shape]`` to distributions ``[*]`` over vectors ``[D]``."""
        mean, scale, context = self._heads(h)
        transform = ComposedTransform(self.transform(context), AffineTransform(mean, scale, 1))
        zero, one = torch.zeros_like(mean), torch.ones_like(scale)
        return Flow(zero, one, transform, self.points)
