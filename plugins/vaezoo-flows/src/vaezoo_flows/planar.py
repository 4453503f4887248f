"""Planar transforms: a bend along one direction."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Transform, constraints

_BISECTIONS = 60
_MARGIN = 1e-3
"""How far w·u stays above -1."""
_SHIFT = math.log(math.expm1(1 - _MARGIN))
"""With this, softplus(_SHIFT) - 1 + _MARGIN is 0."""


class PlanarTransform(Transform):
    """z + u tanh(w·z + b), with u changed so that it is invertible.

    Rezende & Mohamed 2015, eqs. 10 to 12 and appendix A.1: u is moved along w until w·u > -1. The
    function that does so is shifted, so that it leaves w·u = 0 as it is and moves u by at most the
    length of u: theirs moves it without limit where w is small.

    Args:
        u, w: ``[*, D]``.
        b: ``[*]``.
    """

    domain = codomain = constraints.real_vector
    bijective = True

    def __init__(self, u: Tensor, w: Tensor, b: Tensor) -> None:
        super().__init__()
        along = (w * u).sum(-1, keepdim=True)  # [*, 1]
        bounded = F.softplus(along + _SHIFT) - 1 + _MARGIN
        squared = w.square().sum(-1, keepdim=True).clamp_min(1e-12)
        self.u = u + (bounded - along) * w / squared
        self.w, self.b = w, b
        self.along = (w * self.u).sum(-1)  # w·u, above -1, [*]

    def _call(self, x: Tensor) -> Tensor:
        return self.call_and_ladj(x)[0]

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The value ``[*, D]`` and log |det| ``[*]`` (Rezende & Mohamed 2015, eq. 12)."""
        bend = torch.tanh((self.w * x).sum(-1) + self.b)  # [*]
        value = x + self.u * bend[..., None]
        return value, torch.log1p((1 - bend.square()) * self.along)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """log |det dy / dx|, ``[*]``."""
        return self.call_and_ladj(x)[1]

    def _inverse(self, y: Tensor) -> Tensor:
        """Solves for the one number t = w·x: w·y = t + w·u tanh(t + b), which grows with t."""
        target = (self.w * y).sum(-1)  # [*]
        with torch.no_grad():
            low, high = target - self.along.abs(), target + self.along.abs()
            for _ in range(_BISECTIONS):
                middle = (low + high) / 2
                is_low = middle + self.along * torch.tanh(middle + self.b) < target
                low, high = torch.where(is_low, middle, low), torch.where(is_low, high, middle)
            root = (low + high) / 2
            slope = 1 + self.along * (1 - torch.tanh(root + self.b).square())
        # one step of Newton's method at the root changes no value, but gives its gradient
        error = root + self.along * torch.tanh(root + self.b) - target
        root = root - error / slope
        return y - self.u * torch.tanh(root + self.b)[..., None]
