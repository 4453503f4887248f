"""The continuous Bernoulli, with formulas that are exact in fp32, unlike those of torch."""

from __future__ import annotations

import math

import torch
import torch.distributions
from torch import Tensor

_SMALL = 0.5
"""A series is used for logits of smaller magnitude; its truncation error is below 1e-7."""


class ContinuousBernoulli(torch.distributions.ContinuousBernoulli):
    """The continuous Bernoulli on [0, 1] (Loaiza-Ganem & Cunningham 2019).

    Its density is proportional to p^x (1 - p)^(1 - x). Torch computes mean and normalising
    constant from the probability p, with cancellation near p = 1/2, where means are wrong by
    0.003. Here they are computed from the logit h, as ``sigmoid(h) / tanh(h / 2) - 1 / h`` and
    ``h / tanh(h / 2)``. Samples and the cdf are those of torch.
    """

    @property
    def mean(self) -> Tensor:
        """The mean, ``[*]``."""
        h, is_small = self._split()
        s = h * h
        series = 0.5 + h * (1 / 12 + s * (-1 / 720 + s / 30_240))
        large = h.where(~is_small, 1.0)
        return torch.where(is_small, series, large.sigmoid() / (large / 2).tanh() - 1 / large)

    @property
    def variance(self) -> Tensor:
        """The variance, ``[*]``: the derivative of the mean with respect to the logit."""
        h, is_small = self._split()
        s = h * h
        series = 1 / 12 + s * (-1 / 240 + s * (1 / 6048 - s / 172_800))
        large = h.where(~is_small, 1.0)
        exact = large**-2 - large.sigmoid() * (-large).sigmoid() / (large / 2).tanh() ** 2
        return torch.where(is_small, series, exact)

    def _split(self) -> tuple[Tensor, Tensor]:
        """The logits, and a mask of the small ones."""
        return self.logits, self.logits.abs() < _SMALL

    def _cont_bern_log_norm(self) -> Tensor:
        """The log normalising constant, ``[*]``, which torch adds in ``log_prob``."""
        h, is_small = self._split()
        s = h * h
        series = math.log(2) + s * (
            1 / 12 + s * (-7 / 1440 + s * (31 / 90_720 - s * 127 / 4_838_400))
        )
        large = h.where(~is_small, 1.0)
        return torch.where(is_small, series, (large / (large / 2).tanh()).log())
