"""Weights that tune themselves until a quantity has the value one asks for, and one that follows an S-curve."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor

import vaezoo
from vaezoo.nn import masked

Positive = Annotated[float, Gt(0)]
NotNegative = Annotated[float, Ge(0)]


class Geco(vaezoo.Objective):
    """The least rate at which a constraint on the reconstruction holds (Rezende & Viola 2018, algorithm 1).

    With C the constrained quantity less its target, and C_ma its moving average, the loss is
    rate + λ (C + stopgrad(C_ma - C)), and after each optimizer step λ <- λ exp(ν C_ma). It counts the rate: no ``kl``
    stands beside it. 1/λ is what beta would be.

    Args:
        target: of the constrained quantity per example.
        constraint: what is held at the target: ``distortion``, -log p(x|z) in nats; or ``squared-error``, between x and
            the mean of p(x|z), summed over what the mask leaves.
        rate: ν, how fast λ moves: log λ changes by ν C_ma in each step. Take less where C is large, as for big images.
        decay: of the moving average.
        start: λ before the first step.
        minimum, maximum: between which λ is kept.
        samples: how many posterior samples the loss is averaged over.
    """

    loss_includes_rate = True
    self_tuning = True
    multiplier: Tensor
    average: Tensor
    started: Tensor
    seen: Tensor

    def __init__(
        self,
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
            raise ValueError(f"start: {start} does not lie between minimum {minimum} and maximum {maximum}")
        self.num_samples, self.target, self.constraint = samples, target, constraint
        self.rate, self.decay, self.minimum, self.maximum = rate, decay, minimum, maximum
        self.register_buffer("multiplier", torch.tensor(float(start)))
        self.register_buffer("average", torch.zeros(()))
        self.register_buffer("started", torch.zeros((), dtype=torch.bool))
        self.register_buffer("seen", torch.zeros(2), persistent=False)  # squared errors of this step: sum and count

    def forward(self, trace: vaezoo.Trace) -> Tensor:
        """The loss of each example in nats, ``[B]``: its value has C_ma, its gradient that of C."""
        if self.constraint == "distortion":
            quantity = trace.mean_distortion
        else:
            quantity = squared_error(trace)
            if self.training:
                self.seen[0].add_(quantity.detach().sum())
                self.seen[1].add_(len(quantity))
        constraint = quantity - self.target
        return trace.mean_rate + self.multiplier * (constraint + (self.average - constraint).detach())

    @torch.no_grad()
    def update(self, terms: vaezoo.Terms) -> None:
        """Takes in the step's mean of the constrained quantity and moves λ; nothing waits for the device."""
        quantity = terms["distortion"] if self.constraint == "distortion" else self._mean_squared_error()
        constraint = quantity - self.target
        moved = torch.lerp(constraint, self.average, self.decay)
        self.average.copy_(torch.where(self.started, moved, constraint))
        self.started.fill_(True)
        self.multiplier.mul_((self.rate * self.average).exp()).clamp_(self.minimum, self.maximum)

    def weights(self) -> Mapping[str, float | Tensor]:
        """λ, and the moving average C_ma."""
        return {"lambda": self.multiplier, "constraint": self.average}

    def _mean_squared_error(self) -> Tensor:
        """The mean over all examples of the step, whichever process or part of the batch they were in; begins anew."""
        seen = self.seen.clone()
        self.seen.zero_()
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(seen)
        return seen[0] / seen[1]


def squared_error(trace: vaezoo.Trace) -> Tensor:
    """‖x - E[x|z]‖² of each example, averaged over samples, ``[B]``; what the mask hides counts nothing."""
    assert trace.px is not None
    error = (trace.px.mean - trace.batch.x).square()  # [K, B, *shape], or [B, *shape]
    error = error.expand(trace.sites[0].z.shape[0], *trace.batch.x.shape)
    if trace.batch.mask is not None:
        error = masked(error, trace.batch.mask[None])
    return error.flatten(2).sum(-1).mean(0)


@dataclass(frozen=True)
class Staircase:
    """A target that grows from ``start`` by ``height`` in every ``every`` optimizer steps, up to ``end``."""

    start: float
    end: float
    height: float
    every: int

    @classmethod
    def of(cls, target: float | None, *steps: float | None) -> Staircase:
        """The target that options ask for: a number, or ``start``, ``end``, ``height`` and ``every``.

        Raises:
            ValueError: they are not one or the other.
        """
        given = [value for value in steps if value is not None]
        if target is not None and not given:
            return cls(target, target, 0.0, 1)
        if target is None and len(given) == len(steps):
            start, end, height, every = given
            return cls(start, end, height, int(every))
        raise ValueError("give target, or all of target_start, target_end, target_step and target_every")

    def __call__(self, step: int) -> float:
        """The target at an optimizer step, counted from 0."""
        return min(self.end, self.start + self.height * (step // self.every))


class PIControl(vaezoo.Schedule):
    """ControlVAE: a controller moves beta until the rate has the value one asks for (Shao et al. 2020, algorithm 1).

    With e = target - rate, as the last step measured it: beta = clip(minimum + P + I), P = Kp / (1 + exp(e)), and I
    gives way by Ki e in each step. While beta, before it is clipped, is beyond a limit, I does not move farther out
    (the paper's anti-windup), but may come back: frozen both ways, as published, it would stay there for good whenever
    P is too small to lift beta over the minimum.

    The paper has for dSprites ``minimum: 1, target_start: 0.5, target_step: 0.15, target_every: 5000, target_end: 18``,
    and for images ``proportional: 0.001`` with targets of 170 to 200 and beta in [0, 1].

    Args:
        target: of the rate in nats per example.
        target_start: the first of targets that climb a stair, given instead of ``target``.
        target_end: the last of them.
        target_step: the height of one stair, in nats.
        target_every: its length, in optimizer steps.
        proportional: Kp.
        integral: Ki; the paper's code gives it the opposite sign.
        minimum, maximum: the limits of beta, which begins at ``minimum``.
    """

    self_tuning = True
    value: Tensor
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
        self.target = Staircase.of(target, target_start, target_end, target_step, target_every)
        self.proportional, self.integral, self.minimum, self.maximum = proportional, integral, minimum, maximum
        self.aim = self.target(0)
        for name, start in (("value", minimum), ("unclipped", minimum), ("accumulated", 0.0)):
            self.register_buffer(name, torch.tensor(float(start)))

    def forward(self, step: int) -> Tensor:
        """Beta, a 0-dim tensor; remembers the target of this step."""
        self.aim = self.target(step)
        return self.value.clone()

    @torch.no_grad()
    def update(self, terms: vaezoo.Terms) -> None:
        """Takes in the rate that a step had; nothing waits for the device.

        Raises:
            VaezooError: there is none, as the posterior has no density.
        """
        if "rate" not in terms:
            raise vaezoo.VaezooError("schedule 'pi-control' needs the rate, which this posterior does not define")
        error = self.aim - terms["rate"]
        push = -self.integral * error
        too_low, too_high = self.unclipped < self.minimum, self.unclipped > self.maximum
        outward = (too_low & (push < 0)) | (too_high & (push > 0))
        self.accumulated += torch.where(outward, 0.0, push)
        self.unclipped.copy_(self.minimum + self.proportional * torch.sigmoid(-error) + self.accumulated)
        self.value.copy_(self.unclipped.clamp(self.minimum, self.maximum))


class Logistic(vaezoo.Schedule):
    """From one weight to another along an S-curve 1 / (1 + exp(-k (step - x0))) (Bowman et al. 2016).

    Args:
        start: the weight long before the midpoint.
        end: the weight long after it.
        steepness: k, per optimizer step.
        midpoint: x0, the step at which half the way is done.
    """

    def __init__(
        self, *, start: float = 0.0, end: float = 1.0, steepness: Positive = 0.0025, midpoint: NotNegative = 2500.0
    ) -> None:
        super().__init__()
        self.start, self.end, self.steepness, self.midpoint = start, end, steepness, midpoint

    def forward(self, step: int) -> float:
        """The weight at ``step``."""
        share = 0.5 + 0.5 * math.tanh(0.5 * self.steepness * (step - self.midpoint))  # which cannot overflow
        return self.start + (self.end - self.start) * share
