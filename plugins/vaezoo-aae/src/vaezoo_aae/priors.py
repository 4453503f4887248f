"""Priors with a shape in the plane (Makhzani et al. 2016, section 2): mixtures of normals.

Their densities are exact. Shapes: C components of a mixture, B contexts, D latent dimensions.
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

_CURVE_POINTS = 20_000  # points at which the length of a curve is measured
Positive = Annotated[float, Gt(0)]


class PlanarMixture(Distribution):
    """A mixture of C normals in the first two dimensions, standard normal in all others.

    Args:
        log_weights: normalised log-weights, ``[*, C]``.
        centre: the mean of each normal, ``[C, 2]``.
        axes: the principal axes of each normal, ``[C, 2, 2]``: two orthogonal unit vectors, in
            rows.
        scales: the standard deviations along the two axes, ``[2]``.
        dimensions: D, the number of dimensions of z.
    """

    arg_constraints: dict[str, Any] = {}

    def __init__(
        self,
        log_weights: Tensor,
        *,
        centre: Tensor,
        axes: Tensor,
        scales: Tensor,
        dimensions: int,
    ) -> None:
        self.log_weights, self.centre, self.axes, self.scales = log_weights, centre, axes, scales
        super().__init__(log_weights.shape[:-1], torch.Size((dimensions,)), validate_args=False)

    @property
    def mode(self) -> Tensor:
        """The mean of the most probable normal, ``[*, D]``."""
        centre = self.centre[self.log_weights.argmax(-1)]  # [*, 2]
        return F.pad(centre, (0, self.event_shape[0] - 2))

    def tempered(self, temperature: float) -> PlanarMixture:
        """Log-weights are divided by the temperature, variances of the plane multiplied by it.

        Raises:
            NotImplementedError: there are further dimensions, which stay standard normal.
        """
        if self.event_shape[0] > 2:
            raise NotImplementedError("a temperature is defined for two dimensions only")
        return PlanarMixture(
            (self.log_weights / temperature).log_softmax(-1),
            centre=self.centre,
            axes=self.axes,
            scales=self.scales * temperature**0.5,
            dimensions=2,
        )

    @property
    def mean(self) -> Tensor:
        """The mean, ``[*, D]``."""
        return F.pad(self.log_weights.exp() @ self.centre, (0, self.event_shape[0] - 2))

    def sample(
        self,
        sample_shape: torch.Size | list[int] | tuple[int, ...] = torch.Size(),  # noqa: B008
    ) -> Tensor:
        """Draws vectors ``[*sample_shape, *, D]``."""
        categorical = Categorical(logits=self.log_weights, validate_args=False)
        component = categorical.sample(torch.Size(sample_shape))
        noise = torch.randn(*component.shape, *self.event_shape, device=component.device)
        along_axes = (noise[..., :2] * self.scales).unsqueeze(-2)  # [*, 1, 2]
        offset = (along_axes @ self.axes[component]).squeeze(-2)
        return torch.cat([self.centre[component] + offset, noise[..., 2:]], -1)

    def log_prob(self, value: Tensor) -> Tensor:
        """log p of vectors ``[*, D]`` in nats, ``[*]``."""
        plane, other_dims = value[..., :2], value[..., 2:]
        squares: Tensor | float = 0.0
        for axis, scale in zip(self.axes.unbind(1), self.scales.unbind(), strict=True):
            # axis is [C, 2], scale is []
            distance = F.linear(plane, axis) - (self.centre * axis).sum(-1)  # [*, C]
            squares = squares + (distance / scale).square()
        log_normal = -0.5 * squares - self.scales.log().sum()
        log_mixture = torch.logsumexp(self.log_weights + log_normal, -1)
        log_constant = 0.5 * value.shape[-1] * math.log(2 * math.pi)
        return log_mixture - 0.5 * other_dims.square().sum(-1) - log_constant


class _Plane(nn.Module):
    """The constants of a ``PlanarMixture``, and the assignment of its components to labels.

    Args:
        centre, axes, scales, dimensions: as for ``PlanarMixture``.
        classes: the number of labels, among which neighbouring components are divided evenly; 0
            without a context.

    Raises:
        ValueError: there are fewer than two latent dimensions.
    """

    centre: Tensor
    axes: Tensor
    scales: Tensor
    log_weights: Tensor
    label_weights: Tensor

    def __init__(
        self,
        centre: Tensor,
        axes: Tensor,
        *,
        scales: tuple[float, float],
        dimensions: int,
        classes: int,
    ) -> None:
        super().__init__()
        if dimensions < 2:
            raise ValueError(f"needs a latent_dim of at least 2, not {dimensions}")
        components = len(centre)
        label = torch.arange(components) * max(1, classes) // components
        members = F.one_hot(label, max(1, classes)).T.float()  # [classes, C]
        constants = {
            "centre": centre,
            "axes": axes,
            "scales": torch.tensor(scales),
            "log_weights": torch.full((components,), -math.log(components)),
            "label_weights": members / members.sum(1, keepdim=True),
        }
        for name, value in constants.items():
            self.register_buffer(name, value, persistent=False)
        self.dimensions = dimensions

    def forward(self, context: Tensor | None) -> PlanarMixture:
        """The full mixture, or for one-hot contexts ``[B, classes]`` the components of each label.

        A context of zeros, for an unknown label, gives the full mixture.
        """
        log_weights = self.log_weights
        if context is not None:
            share = context.clamp(min=0)
            known = share.sum(-1, keepdim=True) > 0
            share = share / share.sum(-1, keepdim=True).where(known, 1)
            log_weights = torch.where(known, (share @ self.label_weights).log(), log_weights)
        return PlanarMixture(
            log_weights,
            centre=self.centre,
            axes=self.axes,
            scales=self.scales,
            dimensions=self.dimensions,
        )


def _dimensions(space: vaezoo.Space) -> int:
    """The number of dimensions of a latent vector.

    Raises:
        ValueError: the latent variable is not a vector.
    """
    if len(space.shape) != 1:
        raise ValueError(f"needs latent vectors, not maps of shape {space.shape}")
    return space.dimensions


class Ring(vaezoo.Prior):
    """A mixture of equal normals on a circle in the first two dimensions.

    Further dimensions are standard normal. A one-hot context selects the normal of its label; a
    context of zeros, for an example without a label, gives the full mixture.

    Args:
        components: the number of normals; in a conditional model, the number of classes.
        radius: the radius of the circle on which their means lie.
        radial: the standard deviation along the radius.
        tangential: the standard deviation across it.
    """

    conditional = True

    def __init__(
        self,
        wiring: vaezoo.PriorWiring,
        /,
        *,
        components: Annotated[int, Gt(0)] = 10,
        radius: Positive = 2.0,
        radial: Positive = 0.5,
        tangential: Positive = 0.1,
    ) -> None:
        super().__init__()
        if wiring.context_dim not in (0, components):
            raise ValueError(
                f"needs a one-hot context of {components} classes, "
                f"not of {wiring.context_dim} numbers"
            )
        angle = torch.arange(components) * (2 * math.pi / components)
        outward = torch.stack([angle.cos(), angle.sin()], -1)  # [C, 2]
        across = torch.stack([-angle.sin(), angle.cos()], -1)
        self.plane = _Plane(
            radius * outward,
            torch.stack([outward, across], 1),
            scales=(radial, tangential),
            dimensions=_dimensions(wiring.space),
            classes=wiring.context_dim,
        )

    def forward(self, context: Tensor | None, model: vaezoo.GenerativeModel) -> Distribution:
        """The mixture, or one for each context ``[B, components]``."""
        return self.plane(context)


class SwissRoll(vaezoo.Prior):
    """A spiral in the first two dimensions, uniform along its length, blurred by a round normal.

    It is a mixture of normals whose distance is at most their standard deviation, so that its
    density is smooth along the spiral. Further dimensions are standard normal. A one-hot context
    selects the segment of its label, from label 0 at the inner end outward.

    Args:
        turns: the number of turns around the origin.
        radius: the distance of the outer end from the origin.
        noise: the standard deviation of the blur.
    """

    conditional = True

    def __init__(
        self,
        wiring: vaezoo.PriorWiring,
        /,
        *,
        turns: Positive = 2.0,
        radius: Positive = 3.0,
        noise: Positive = 0.1,
    ) -> None:
        super().__init__()
        share = torch.linspace(0, 1, _CURVE_POINTS, dtype=torch.float64)
        angle = 2 * math.pi * turns * share
        direction = torch.stack([angle.cos(), angle.sin()], -1)
        curve = radius * share[:, None] * direction  # [_CURVE_POINTS, 2]
        length = torch.cat([torch.zeros(1), curve.diff(dim=0).norm(dim=1).cumsum(0)])
        classes = max(1, wiring.context_dim)
        count = classes * math.ceil(length[-1].item() / noise / classes)
        index = torch.searchsorted(length, (torch.arange(count) + 0.5) * (length[-1] / count))
        axes = torch.eye(2).repeat(count, 1, 1)  # [C, 2, 2]
        self.plane = _Plane(
            curve[index].float(),
            axes,
            scales=(noise, noise),
            dimensions=_dimensions(wiring.space),
            classes=wiring.context_dim,
        )

    def forward(self, context: Tensor | None, model: vaezoo.GenerativeModel) -> Distribution:
        """The full spiral, or a segment of it for each context ``[B, classes]``."""
        return self.plane(context)
