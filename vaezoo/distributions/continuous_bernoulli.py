"""The continuous Bernoulli, with formulas that are exact in fp32, unlike those of torch."""

from __future__ import annotations

import math

import torch
import torch.distributions
import torch.nn.functional as F
from torch import Tensor

_SMALL = 0.5
"""A series is used for logits of smaller magnitude; its truncation error is below 1e-7."""
_SMALL_QUANTILE = 0.1
"""The same for quantiles, whose series is shorter."""


class ContinuousBernoulli(torch.distributions.ContinuousBernoulli):
    """The continuous Bernoulli on [0, 1] (Loaiza-Ganem & Cunningham 2019).

    Its density is proportional to p^x (1 - p)^(1 - x). Torch computes mean, normalising constant
    and samples from the probability p, with cancellation near p = 1/2, where means are wrong by
    0.003, and with p rounded to 1 from logits of 16 on, where samples stay as wide as there. Here
    they are computed from the logit h: the mean is ``sigmoid(h) / tanh(h / 2) - 1 / h``, the
    constant ``h / tanh(h / 2)``, and the quantile of u is ``log(1 + u (e^h - 1)) / h``.
    """

    @property
    def mean(self) -> Tensor:
        """The mean, ``[*]``."""
        h, large, is_small = _split(self.logits, _SMALL)
        s = h * h
        series = 0.5 + h * (1 / 12 + s * (-1 / 720 + s / 30_240))
        return torch.where(is_small, series, large.sigmoid() / (large / 2).tanh() - 1 / large)

    @property
    def variance(self) -> Tensor:
        """The variance, ``[*]``: the derivative of the mean with respect to the logit."""
        h, large, is_small = _split(self.logits, _SMALL)
        s = h * h
        series = 1 / 12 + s * (-1 / 240 + s * (1 / 6048 - s / 172_800))
        exact = large**-2 - large.sigmoid() * (-large).sigmoid() / (large / 2).tanh() ** 2
        return torch.where(is_small, series, exact)

    def _cont_bern_log_norm(self) -> Tensor:
        """The log normalising constant, ``[*]``, which torch adds in ``log_prob``."""
        h, large, is_small = _split(self.logits, _SMALL)
        s = h * h
        series = math.log(2) + s * (
            1 / 12 + s * (-7 / 1440 + s * (31 / 90_720 - s * 127 / 4_838_400))
        )
        return torch.where(is_small, series, (large / (large / 2).tanh()).log())

    def entropy(self) -> Tensor:
        """The differential entropy in nats, ``[*]``; log p(x) is linear in x."""
        return -self.log_prob(self.mean)

    def cdf(self, value: Tensor) -> Tensor:
        """The probability of values below ``value`` ``[*]``, ``[*]``."""
        h, x = torch.broadcast_tensors(self.logits, value)
        a, x = h.abs().clamp(min=1e-6), x.clamp(0, 1)  # at 1e-6 it is uniform to 7 digits
        return (-F.relu(h) * (1 - x)).exp() * (-a * x).expm1() / (-a).expm1()

    def icdf(self, value: Tensor) -> Tensor:
        """The quantile of probabilities ``[*]``, ``[*]``. Samples are those of uniform numbers.

        It is computed as the distance from that end of [0, 1] where the density is higher, from
        the share of the probability between them; shares are at most the largest number below 1.
        """
        h, u = torch.broadcast_tensors(self.logits, value)
        small, large, is_small = _split(h, _SMALL_QUANTILE)
        v = u * (1 - u)  # the series has the cumulants of a Bernoulli variable
        series = u + small * v * (1 / 2 + small * ((1 - 2 * u) / 6 + small * (1 - 6 * v) / 24))
        is_rising, a = large > 0, large.abs()
        share = torch.where(is_rising, 1 - u, u)
        below_one = 1 - torch.finfo(u.dtype).eps / 2
        distance = -(share * (-a).expm1()).clamp(min=-below_one).log1p() / a
        quantile = torch.where(is_rising, 1 - distance, distance)
        return torch.where(is_small, series, quantile).clamp(0, 1)


def _split(h: Tensor, bound: float) -> tuple[Tensor, Tensor, Tensor]:
    """The logits with 0 for those from ``bound`` on; with 1 for those below; a mask of the latter.

    With the other formula's logits replaced, neither formula overflows, also in the gradient.
    """
    is_small = h.abs() < bound
    return h.where(is_small, 0.0), h.where(~is_small, 1.0), is_small
