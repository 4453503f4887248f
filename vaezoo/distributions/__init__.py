"""Distributions that torch lacks, and functions on distributions.

All are built with ``validate_args=False``, because torch's checks would synchronise with the
device in every step. In the docstrings ``*`` is the batch shape, D the number of dimensions of a
vector, and C the number of categories or mixture components.
"""

from vaezoo.distributions.continuous_bernoulli import ContinuousBernoulli
from vaezoo.distributions.discrete import (
    BinaryLogits,
    CategoricalLevels,
    DiscretizedLogistic,
    OneHot,
)
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
    "CategoricalLevels",
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
