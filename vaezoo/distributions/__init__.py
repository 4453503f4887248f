"""Distributions that torch lacks, and what is done to any of them.

All are built with ``validate_args=False``: torch's own checks would wait for the device at every step.
"""

from vaezoo.distributions.continuous_bernoulli import ContinuousBernoulli
from vaezoo.distributions.discrete import BinaryLogits, DiscretizedLogistic, Levels, OneHot
from vaezoo.distributions.drawing import draw
from vaezoo.distributions.implicit import Implicit, detach
from vaezoo.distributions.normal import (
    DiagonalNormal,
    NormalMixture,
    OptimalNormal,
    UnitNormal,
    independent,
    normal_log_prob,
    soft_clip,
)

__all__ = [
    "BinaryLogits",
    "ContinuousBernoulli",
    "DiagonalNormal",
    "DiscretizedLogistic",
    "Implicit",
    "Levels",
    "NormalMixture",
    "OneHot",
    "OptimalNormal",
    "UnitNormal",
    "detach",
    "draw",
    "independent",
    "normal_log_prob",
    "soft_clip",
]
