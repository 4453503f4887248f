"""Priors with a shape in the plane (Makhzani et al. 2016, section 2): mixtures of normals, with exact densities.

Shapes: C normals of a mixture, B contexts, D latent dimensions.
"""

from __future__ import annotations

import math
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from annotated_types import Gt
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution

import vaezoo

_FINE = 20_000  # points on which the length of a curve is measured
Positive = Annotated[float, Gt(0)]


class PlanarMixture(Distribution):
    """A mixture of C normals over the first two dimensions of a vector; the others are standard normal.

    Args:
        log_weights: ``[*, C]``, normalised.
        centre: ``[C, 2]``.
        axes: ``[C, 2, 2]``: for each normal two unit vectors at right angles, in rows.
        scales: ``[2]``, the standard deviations along them.
        dimensions: D.
    """

    arg_constraints: dict[str, Any] = {}

    def __init__(self, log_weights: Tensor, centre: Tensor, axes: Tensor, scales: Tensor, dimensions: int) -> None:
        self.log_weights, self.centre, self.axes, self.scales = log_weights, centre, axes, scales
        super().__init__(log_weights.shape[:-1], torch.Size((dimensions,)), validate_args=False)

    @property
    def mean(self) -> Tensor:
        """The expected vector, ``[*, D]``."""
        return F.pad(self.log_weights.exp() @ self.centre, (0, self.event_shape[0] - 2))

    def sample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = torch.Size()) -> Tensor:  # noqa: B008
        """Draws vectors ``[*sample_shape, *, D]``."""
        which = Categorical(logits=self.log_weights, validate_args=False).sample(torch.Size(sample_shape))
        noise = torch.randn(*which.shape, *self.event_shape, device=which.device)
        along = (noise[..., :2] * self.scales).unsqueeze(-2)  # [*, 1, 2], in units of the axes
        plane = self.centre[which] + (along @ self.axes[which]).squeeze(-2)
        return torch.cat([plane, noise[..., 2:]], -1)

    def log_prob(self, value: Tensor) -> Tensor:
        """log p of vectors ``[*, D]``."""
        plane, rest = value[..., :2], value[..., 2:]
        squares: Tensor | float = 0.0
        for axis, scale in zip(self.axes.unbind(1), self.scales.unbind(), strict=True):  # [C, 2] and [] each
            distance = F.linear(plane, axis) - (self.centre * axis).sum(-1)  # [*, C]
            squares = squares + (distance / scale).square()
        log_normal = -0.5 * squares - self.scales.log().sum()
        mixed = torch.logsumexp(self.log_weights + log_normal, -1)
        return mixed - 0.5 * rest.square().sum(-1) - 0.5 * value.shape[-1] * math.log(2 * math.pi)


class _Plane(nn.Module):
    """The constants of a mixture in the plane, and which of its normals belong to a context.

    Args:
        centre, axes, scales, dimensions: as for ``PlanarMixture``.
        classes: neighbouring normals are divided among so many labels, evenly; 0 where there is no context.

    Raises:
        ValueError: fewer than two latent dimensions.
    """

    centre: Tensor
    axes: Tensor
    scales: Tensor
    log_weights: Tensor
    members: Tensor

    def __init__(
        self, centre: Tensor, axes: Tensor, scales: tuple[float, float], dimensions: int, classes: int
    ) -> None:
        super().__init__()
        if dimensions < 2:
            raise ValueError(f"needs a latent_dim of at least 2, not {dimensions}")
        count = len(centre)
        owner = torch.arange(count) * max(1, classes) // count
        members = F.one_hot(owner, max(1, classes)).T.float()  # [classes, C]
        constants = {
            "centre": centre,
            "axes": axes,
            "scales": torch.tensor(scales),
            "log_weights": torch.full((count,), -math.log(count)),
            "members": members / members.sum(1, keepdim=True),
        }
        for name, value in constants.items():
            self.register_buffer(name, value, persistent=False)
        self.dimensions = dimensions

    def forward(self, context: Tensor | None) -> PlanarMixture:
        """The whole mixture, or for contexts ``[B, classes]`` the part of each label; a row of zeros is no label."""
        log_weights = self.log_weights
        if context is not None:
            share = context.clamp(min=0)
            known = share.sum(-1, keepdim=True) > 0
            weights = share / share.sum(-1, keepdim=True).where(known, 1) @ self.members  # [B, C]
            log_weights = torch.where(known, weights.log(), log_weights)
        return PlanarMixture(log_weights, self.centre, self.axes, self.scales, self.dimensions)


class Ring(vaezoo.Prior):
    """Equal normals on a circle in the first two dimensions, each longer or shorter along its radius.

    Further dimensions are standard normal. A one-hot context chooses the normal of its label; a context of zeros, for
    an example without a label, leaves the whole mixture.

    Args:
        components: how many normals; in a conditional model as many as the context has classes.
        radius: of the circle of their centres.
        radial: the standard deviation along the radius.
        tangential: the standard deviation across it.
    """

    conditional = True

    def __init__(
        self,
        latent_dim: int,
        context_dim: int,
        /,
        *,
        components: Annotated[int, Gt(0)] = 10,
        radius: Positive = 2.0,
        radial: Positive = 0.5,
        tangential: Positive = 0.1,
    ) -> None:
        super().__init__()
        if context_dim not in (0, components):
            raise ValueError(f"needs a one-hot context of {components} classes, not of {context_dim} numbers")
        angle = torch.arange(components) * (2 * math.pi / components)
        outward = torch.stack([angle.cos(), angle.sin()], -1)  # [C, 2]
        across = torch.stack([-angle.sin(), angle.cos()], -1)
        axes = torch.stack([outward, across], 1)
        self.plane = _Plane(radius * outward, axes, (radial, tangential), latent_dim, context_dim)

    def forward(self, h: Tensor | None) -> Distribution:
        """The mixture, or one for each context ``[B, components]``."""
        return self.plane(h)


class SwissRoll(vaezoo.Prior):
    """A spiral in the first two dimensions, evenly along its length, blurred by a round normal.

    It is a mixture of normals no further apart than their standard deviation: no ripple of it is left. Further
    dimensions are standard normal. A one-hot context chooses its label's stretch of the roll, label 0 innermost.

    Args:
        turns: how often it winds around the origin.
        radius: of its outer end.
        noise: the standard deviation of the blur.
    """

    conditional = True

    def __init__(
        self,
        latent_dim: int,
        context_dim: int,
        /,
        *,
        turns: Positive = 2.0,
        radius: Positive = 3.0,
        noise: Positive = 0.1,
    ) -> None:
        super().__init__()
        share = torch.linspace(0, 1, _FINE, dtype=torch.float64)
        angle = 2 * math.pi * turns * share
        curve = radius * share[:, None] * torch.stack([angle.cos(), angle.sin()], -1)  # [_FINE, 2]
        way = torch.cat([torch.zeros(1), curve.diff(dim=0).norm(dim=1).cumsum(0)])
        classes = max(1, context_dim)
        count = classes * math.ceil(way[-1].item() / noise / classes)
        at = torch.searchsorted(way, (torch.arange(count) + 0.5) * (way[-1] / count))
        axes = torch.eye(2).repeat(count, 1, 1)
        self.plane = _Plane(curve[at].float(), axes, (noise, noise), latent_dim, context_dim)

    def forward(self, h: Tensor | None) -> Distribution:
        """The roll, or a stretch of it for each context ``[B, classes]``."""
        return self.plane(h)
