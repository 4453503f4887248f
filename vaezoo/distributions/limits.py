"""Smooth limits of scales that networks and parameters give."""

from __future__ import annotations

import math

from torch import Tensor

_BEND = math.pi / 2
"""How far from a limit values are bent: the largest value of the arctangent."""


class LogScaleLimits:
    """Keeps the logarithm of a scale between two limits, smoothly.

    Both limits are approached alike: f(v) = c + arctan(v - c), where c is v clipped to
    [minimum + π/2, maximum - π/2]. Between these two f is the identity, to the last bit. Its slope
    1 / (1 + (v - c)²) is continuous and never 0, so that values far outside find their way back:
    the slope of softplus or tanh would be 0 in fp32 from about 100 on.

    Args:
        minimum: the lower limit; None for no lower limit.
        maximum: the upper limit; None for no upper limit.

    Raises:
        ValueError: the limits are less than π apart.
    """

    def __init__(self, minimum: float | None = None, maximum: float | None = None) -> None:
        if minimum is not None and maximum is not None and maximum - minimum < 2 * _BEND:
            raise ValueError(
                f"maximum: {maximum:g} must be at least {minimum + 2 * _BEND:.3g}: "
                f"pi above minimum: {minimum:g}"
            )
        self.low = None if minimum is None else minimum + _BEND
        self.high = None if maximum is None else maximum - _BEND

    def __call__(self, log_scale: Tensor) -> Tensor:
        """The log-scale within the limits, elementwise."""
        if self.low is None and self.high is None:
            return log_scale
        inside = log_scale.clamp(self.low, self.high)
        return inside + (log_scale - inside).atan()
