"""Priors that are flows of N(0, I), trained with the model or fitted to its codes afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
import zuko
from annotated_types import Ge, Gt
from torch import Tensor
from torch.distributions import Distribution
from torch.distributions.transforms import AffineTransform
from zuko.lazy import LazyComposedTransform
from zuko.transforms import ComposedTransform

import vaezoo
from vaezoo_flows.fitting import Fit, standardise
from vaezoo_flows.flow import Flow, normal_points
from vaezoo_flows.networks import start_as_identity, vector_size


class _FlowPrior(vaezoo.Prior):
    """p(z) of the noise that a transform makes of z: N(0, I), scaled and shifted.

    Used as a sampler, it is fitted to codes of the training split by maximum likelihood.

    Args:
        wiring: of a prior over vectors ``[D]``.
        transform: from values to noise, with what ``context_dim`` needs.
        fit: how it is fitted as a sampler.
    """

    conditional = True
    points: Tensor
    shift: Tensor
    scale: Tensor

    def __init__(
        self, wiring: vaezoo.PriorWiring, transform: LazyComposedTransform, fit: Fit
    ) -> None:
        super().__init__()
        self.size, self.settings = vector_size(wiring.space), fit
        self.transform = start_as_identity(transform)
        self.register_buffer("points", normal_points(self.size), persistent=False)
        self.register_buffer("shift", torch.zeros(self.size))
        self.register_buffer("scale", torch.ones(self.size))

    def forward(self, context: Tensor | None, model: vaezoo.GenerativeModel) -> Distribution:
        """One flow ``[]`` for all, or one for each context: ``[B]``."""
        batch = () if context is None else context.shape[:-1]
        zero = self.shift.new_zeros(*batch, self.size)  # [*, D]
        to_values = AffineTransform(self.shift, self.scale, event_dim=1)
        transform = ComposedTransform(self.transform(context).inv, to_values)
        return Flow(zero, torch.ones_like(zero), transform, self.points)

    def fit(self, codes: Tensor, context: Tensor | None) -> None:
        """Fits the flow to codes ``[n, D]``, with the context ``[n, E]`` of each.

        Raises:
            ValueError: the codes are too few or not finite, or the loss diverges.
        """
        standardise(codes, self.shift, self.scale)
        self.settings(self, lambda z, of: -self(of, None).log_prob(z), codes, context)


class RealNVP(_FlowPrior):
    """A flow of affine coupling transforms (Dinh et al. 2017, "Real NVP").

    Each transform scales and shifts one half of the dimensions by amounts that depend on the other
    half, so that a sample and a density take one pass each. Log-densities are exact, in nats.

    Args:
        transforms: how many follow one another; every second one changes the other half.
        hidden: the sizes of the hidden layers of each transform's network.
        fit_steps: as a sampler: the number of training steps.
        fit_lr: as a sampler: the learning rate of Adam, which falls to 0 along a cosine.
        seed: as a sampler: of the order of codes.
    """

    def __init__(
        self,
        wiring: vaezoo.PriorWiring,
        /,
        *,
        transforms: Annotated[int, Ge(2)] = 6,
        hidden: Sequence[Annotated[int, Gt(0)]] = (128, 128),
        fit_steps: Annotated[int, Ge(1)] = 2000,
        fit_lr: Annotated[float, Gt(0)] = 1e-3,
        seed: Annotated[int, Ge(0)] = 0,
    ) -> None:
        size = vector_size(wiring.space)
        if size < 2:
            raise ValueError("couples two halves of the dimensions, so it needs at least two")
        flow = zuko.flows.RealNVP(size, wiring.context_dim, transforms, hidden_features=hidden)
        super().__init__(wiring, flow.transform, Fit(steps=fit_steps, lr=fit_lr, seed=seed))


class MaskedAutoregressive(_FlowPrior):
    """A masked autoregressive flow (Papamakarios et al. 2017).

    Each transform scales and shifts a dimension by amounts that depend on the dimensions before
    it; the order is reversed from one to the next. A density takes one pass, a sample D passes.
    Log-densities are exact, in nats.

    Args:
        transforms: how many transforms follow one another.
        hidden: the sizes of the hidden layers of each transform's network.
        fit_steps: as a sampler: the number of training steps.
        fit_lr: as a sampler: the learning rate of Adam, which falls to 0 along a cosine.
        seed: as a sampler: of the order of codes.
    """

    def __init__(
        self,
        wiring: vaezoo.PriorWiring,
        /,
        *,
        transforms: Annotated[int, Ge(1)] = 3,
        hidden: Sequence[Annotated[int, Gt(0)]] = (128, 128),
        fit_steps: Annotated[int, Ge(1)] = 2000,
        fit_lr: Annotated[float, Gt(0)] = 1e-3,
        seed: Annotated[int, Ge(0)] = 0,
    ) -> None:
        flow = zuko.flows.MAF(
            vector_size(wiring.space), wiring.context_dim, transforms, hidden_features=hidden
        )
        super().__init__(wiring, flow.transform, Fit(steps=fit_steps, lr=fit_lr, seed=seed))


class NeuralSpline(_FlowPrior):
    """A flow of rational-quadratic splines (Durkan et al. 2019, "Neural Spline Flows").

    Each spline changes one half of the dimensions between -5 and 5, with a form that depends on
    the other half, so that a sample and a density take one pass each. Log-densities are exact, in
    nats.

    Args:
        transforms: how many follow one another; every second one changes the other half.
        bins: the number of pieces of a spline.
        hidden: the sizes of the hidden layers of each spline's network.
        fit_steps: as a sampler: the number of training steps.
        fit_lr: as a sampler: the learning rate of Adam, which falls to 0 along a cosine.
        seed: as a sampler: of the order of codes.
    """

    def __init__(
        self,
        wiring: vaezoo.PriorWiring,
        /,
        *,
        transforms: Annotated[int, Ge(1)] = 4,
        bins: Annotated[int, Ge(2)] = 8,
        hidden: Sequence[Annotated[int, Gt(0)]] = (128, 128),
        fit_steps: Annotated[int, Ge(1)] = 2000,
        fit_lr: Annotated[float, Gt(0)] = 1e-3,
        seed: Annotated[int, Ge(0)] = 0,
    ) -> None:
        flow = zuko.flows.NSF(
            vector_size(wiring.space),
            wiring.context_dim,
            bins,
            transforms=transforms,
            passes=2,
            hidden_features=hidden,
        )
        super().__init__(wiring, flow.transform, Fit(steps=fit_steps, lr=fit_lr, seed=seed))
