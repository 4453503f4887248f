"""Weights that tune themselves until a quantity reaches its target, and a logistic schedule.

Shapes: K samples, B examples.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor

import vaezoo
from vaezoo.distributions import differentiable_mean
from vaezoo.nn import masked

Positive = Annotated[float, Gt(0)]
NotNegative = Annotated[float, Ge(0)]


class Geco(vaezoo.Objective):
    """GECO: the smallest rate at which a reconstruction constraint holds.

    From Rezende & Viola 2018, algorithm 1. With C the constrained quantity less its target, and
    C_ma its moving average, the loss is rate + λ (C + stopgrad(C_ma - C)), and after each
    training step λ <- λ exp(ν C_ma). The loss includes the rate, so it cannot be used with
    ``kl``. 1/λ corresponds to beta.

    Args:
        target: the target of the constrained quantity per example.
        constraint: the constrained quantity: ``distortion``, -log p(x|z) in nats; or
            ``squared-error``, between x and the mean of p(x|z), summed over the values that the
            mask allows; refused where that mean has no gradient, as with a likelihood that
            estimates it from samples.
        rate: ν, the step size of λ: log λ changes by ν C_ma in each step. Use a smaller one if C
            is large, as for large images.
        decay: the decay of the moving average.
        start: λ before the first step.
        minimum: the smallest λ.
        maximum: the largest λ.
        samples: the number of posterior samples that the loss is averaged over.
    """

    loss_includes_rate = True
    multiplier: Tensor
    average: Tensor
    started: Tensor
    squared_errors: Tensor

    def __init__(
        self,
        wiring: vaezoo.TaskWiring,
        /,
        *,
        target: float,
        constraint: Literal["distortion", "squared-error"] = "distortion",
        rate: Positive = 1e-3,
        decay: Annotated[float, Ge(0), Lt(1)] = 0.99,
        start: Positive = 1.0,
        minimum: Positive = 1e-6,
        maximum: Positive = 1e6,
        samples: Annotated[int, Gt(0)] = 1,
    ) -> None:
        super().__init__()
        if not minimum <= start <= maximum:
            raise ValueError(
                f"start: {start} does not lie between minimum {minimum} and maximum {maximum}"
            )
        self.num_samples, self.target, self.constraint = samples, target, constraint
        self.rate, self.decay, self.minimum, self.maximum = rate, decay, minimum, maximum
        self.register_buffer("multiplier", torch.tensor(float(start)))
        self.register_buffer("average", torch.zeros(()))
        self.register_buffer("started", torch.zeros((), dtype=torch.bool))
        # Sum and count of the squared errors of this step.
        self.register_buffer("squared_errors", torch.zeros(2), persistent=False)

    def forward(self, trace: vaezoo.Trace) -> Tensor:
        """The loss in nats ``[B]``: its value is that with C_ma, its gradient that with C.

        Raises:
            ValueError: the squared error cannot train, because the mean of p(x|z) has no gradient.
        """
        if self.constraint == "distortion":
            quantity = trace.mean_distortion
        else:
            quantity = squared_error(trace)
            if self.training and torch.is_grad_enabled():
                self.squared_errors[0].add_(quantity.detach().sum())
                self.squared_errors[1].add_(len(quantity))
        constraint = quantity - self.target
        return trace.mean_rate + self.multiplier * (
            constraint + (self.average - constraint).detach()
        )

    def after_step(self, result: vaezoo.StepResult) -> None:
        """Updates C_ma and λ from a step's mean of the constrained quantity, on the device."""
        if self.constraint == "distortion":
            quantity = result.terms["distortion"]
        else:
            total, count = result.processes.sum(self.squared_errors)
            quantity = total / count
            self.squared_errors.zero_()
        constraint = quantity - self.target
        average = torch.lerp(constraint, self.average, self.decay)
        self.average.copy_(torch.where(self.started, average, constraint))
        self.started.fill_(True)
        self.multiplier.mul_((self.rate * self.average).exp()).clamp_(self.minimum, self.maximum)

    def weights(self) -> Mapping[str, float | Tensor]:
        """λ, and the moving average C_ma."""
        return {"lambda": self.multiplier, "constraint": self.average}


def squared_error(trace: vaezoo.Trace) -> Tensor:
    """‖x - E[x|z]‖² averaged over samples, ``[B]``.

    Values that the mask hides and parts that are missing count as 0.

    Raises:
        ValueError: p(x|z) is trained, and its mean has no gradient.
    """
    assert trace.px is not None
    trains = torch.is_grad_enabled() and trace.mean_distortion.requires_grad
    mean = differentiable_mean(trace.px) if trains else trace.px.mean
    k, batch = trace.sites[0].z.shape[0], trace.batch
    if not isinstance(mean, Mapping):
        return trace.mean(_squared_error(mean, batch, k))
    errors = []
    for name, value in mean.items():
        error, present = _squared_error(value, batch.part(name), k), batch.has(name)
        errors.append(error if present is None else masked(error, present[None]))
    return trace.mean(torch.stack(errors).sum(0))


def _squared_error(mean: Tensor, batch: vaezoo.Batch, k: int) -> Tensor:
    """‖x - mean‖² of what is observed, ``[K, B]``."""
    error = (mean - batch.x).square().expand(k, *batch.x.shape)  # [K, B, *shape]
    if batch.mask is not None:
        error = masked(error, batch.mask[None])
    return error.flatten(2).sum(-1)


@dataclass(frozen=True)
class Staircase:
    """A target that grows from ``start`` to ``end``, by ``height`` after each ``every`` steps."""

    start: float
    end: float
    height: float
    every: int

    @classmethod
    def from_options(cls, target: float | None, *steps: float | None) -> Staircase:
        """Builds a constant target, or one from ``start``, ``end``, ``height`` and ``every``.

        Raises:
            ValueError: neither ``target`` alone nor all of the others are set.
        """
        options = [value for value in steps if value is not None]
        if target is not None and not options:
            return cls(target, target, 0.0, 1)
        if target is None and len(options) == len(steps):
            start, end, height, every = options
            return cls(start, end, height, int(every))
        raise ValueError(
            "give target, or all of target_start, target_end, target_step and target_every"
        )

    def __call__(self, step: int) -> float:
        """The target at a training step, counted from 0."""
        return min(self.end, self.start + self.height * (step // self.every))


class PIControl(vaezoo.Schedule):
    """ControlVAE: a PI controller of beta that brings the rate to a target.

    From Shao et al. 2020, algorithm 1. With e = target - rate, measured in the previous step: beta
    = clip(minimum + P + I), P = Kp / (1 + exp(e)), and I decreases by Ki e in each step. While
    beta before clipping is beyond a limit, I does not move farther out (the paper's anti-windup),
    but it may move back. Frozen in both directions, as published, it would never return if P is
    too small to lift beta above the minimum.

    The paper's options for dSprites are ``minimum: 1, target_start: 0.5, target_step: 0.15,
    target_every: 5000, target_end: 18``, and for images ``proportional: 0.001`` with targets of
    170 to 200 and beta in [0, 1].

    Args:
        target: the target of the rate in nats per example.
        target_start: the first target of a staircase, used instead of ``target``.
        target_end: the last target of the staircase.
        target_step: the height of one stair in nats.
        target_every: the length of one stair in training steps.
        proportional: Kp, the gain of the term P.
        integral: Ki, the gain of the term I; in the paper's code it has the opposite sign.
        minimum: the smallest beta, with which training starts.
        maximum: the largest beta.
    """

    unclipped: Tensor
    accumulated: Tensor

    def __init__(
        self,
        *,
        target: Positive | None = None,
        target_start: NotNegative | None = None,
        target_end: NotNegative | None = None,
        target_step: Positive | None = None,
        target_every: Annotated[int, Gt(0)] | None = None,
        proportional: NotNegative = 0.01,
        integral: Positive = 0.001,
        minimum: NotNegative = 0.0,
        maximum: Positive = 100.0,
    ) -> None:
        super().__init__()
        if not minimum < maximum:
            raise ValueError(f"minimum: {minimum} is not below maximum: {maximum}")
        self.target = Staircase.from_options(
            target, target_start, target_end, target_step, target_every
        )
        self.proportional, self.integral = proportional, integral
        self.minimum, self.maximum = minimum, maximum
        self.current_target = self.target(0)
        self.register_buffer("unclipped", torch.tensor(float(minimum)))
        self.register_buffer("accumulated", torch.zeros(()))

    def forward(self, step: int) -> Tensor:
        """Beta, a 0-dim tensor; also sets the target of this step."""
        self.current_target = self.target(step)
        return self.unclipped.clamp(self.minimum, self.maximum)

    def after_step(self, result: vaezoo.StepResult) -> None:
        """Updates beta from the rate of a step, on the device.

        Raises:
            VaezooError: there is no rate: a density is missing, or the stage has none.
        """
        if "rate" not in result.terms:
            raise vaezoo.VaezooError(
                "schedule 'pi-control' needs the rate, which the posterior or the stage lacks"
            )
        error = self.current_target - result.terms["rate"]
        change = -self.integral * error
        too_low, too_high = self.unclipped < self.minimum, self.unclipped > self.maximum
        outward = (too_low & (change < 0)) | (too_high & (change > 0))
        self.accumulated += torch.where(outward, 0.0, change)
        proportional = self.proportional * torch.sigmoid(-error)
        self.unclipped.copy_(self.minimum + proportional + self.accumulated)


class Logistic(vaezoo.Schedule):
    """A weight that follows the logistic curve 1 / (1 + exp(-k (step - x0))) (Bowman et al. 2016).

    Args:
        start: the weight long before the midpoint.
        end: the weight long after the midpoint.
        steepness: k, per training step.
        midpoint: x0, the step at which the weight is halfway between ``start`` and ``end``.
    """

    def __init__(
        self,
        *,
        start: float = 0.0,
        end: float = 1.0,
        steepness: Positive = 0.0025,
        midpoint: NotNegative = 2500.0,
    ) -> None:
        super().__init__()
        self.start, self.end, self.steepness, self.midpoint = start, end, steepness, midpoint

    def forward(self, step: int) -> float:
        """The weight at ``step``."""
        # The logistic function, written as a tanh that cannot overflow.
        share = 0.5 + 0.5 * math.tanh(0.5 * self.steepness * (step - self.midpoint))
        return self.start + (self.end - self.start) * share
