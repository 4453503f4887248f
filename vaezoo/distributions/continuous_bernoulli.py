"""The continuous Bernoulli by its logit, of which torch's own formulas lose digits in fp32."""

from __future__ import annotations

import math

import torch
import torch.distributions
from torch import Tensor

_SMALL = 0.5
"""Logits below which a series is the more exact; what it leaves out is under 1e-7."""


class ContinuousBernoulli(torch.distributions.ContinuousBernoulli):
    """The density on [0, 1] with the Bernoulli's exponent (Loaiza-Ganem & Cunningham 2019); draws and cdf are torch's.

    Torch has mean and norm in the probability, where they cancel near one half: means are off by 0.003 there. In the
    logit h they are ``sigmoid(h) / tanh(h / 2) - 1 / h`` and ``h / tanh(h / 2)``.
    """

    @property
    def mean(self) -> Tensor:
        """The mean, ``[*]``."""
        h, small = self._split()
        s = h * h
        series = 0.5 + h * (1 / 12 + s * (-1 / 720 + s / 30_240))
        away = h.where(~small, 1.0)
        return torch.where(small, series, away.sigmoid() / (away / 2).tanh() - 1 / away)

    @property
    def variance(self) -> Tensor:
        """The variance, ``[*]``: the derivative of the mean by the logit."""
        h, small = self._split()
        s = h * h
        series = 1 / 12 + s * (-1 / 240 + s * (1 / 6048 - s / 172_800))
        away = h.where(~small, 1.0)
        return torch.where(small, series, away**-2 - away.sigmoid() * (-away).sigmoid() / (away / 2).tanh() ** 2)

    def _split(self) -> tuple[Tensor, Tensor]:
        """The logits, and where they are small."""
        return self.logits, self.logits.abs() < _SMALL

    def _cont_bern_log_norm(self) -> Tensor:
        """log of the density's norm, ``[*]``, which torch adds to the cross-entropy."""
        h, small = self._split()
        s = h * h
        series = math.log(2) + s * (1 / 12 + s * (-7 / 1440 + s * (31 / 90_720 - s * 127 / 4_838_400)))
        away = h.where(~small, 1.0)
        return torch.where(small, series, (away / (away / 2).tanh()).log())
