"""Distributions that torch lacks, and functions on distributions.

All are built with ``validate_args=False``, because torch's checks would synchronise with the
device in every step. In the docstrings ``*`` is the batch shape, D the number of dimensions of a
vector, and C the number of categories or mixture components.
"""

from vaezoo.distributions.continuous_bernoulli import ContinuousBernoulli as ContinuousBernoulli
from vaezoo.distributions.density import DENSITIES as DENSITIES
from vaezoo.distributions.density import Density as Density
from vaezoo.distributions.density import density_of as density_of
from vaezoo.distributions.discrete import BinaryLogits as BinaryLogits
from vaezoo.distributions.discrete import CategoricalLevels as CategoricalLevels
from vaezoo.distributions.discrete import DiscretizedLogistic as DiscretizedLogistic
from vaezoo.distributions.discrete import OneHot as OneHot
from vaezoo.distributions.drawing import draw as draw
from vaezoo.distributions.drawing import mode as mode
from vaezoo.distributions.drawing import sample_prior as sample_prior
from vaezoo.distributions.drawing import tempered as tempered
from vaezoo.distributions.gradients import differentiable_mean as differentiable_mean
from vaezoo.distributions.implicit import Implicit as Implicit
from vaezoo.distributions.implicit import detach as detach
from vaezoo.distributions.joint import Joint as Joint
from vaezoo.distributions.limits import LogScaleLimits as LogScaleLimits
from vaezoo.distributions.normal import DiagonalNormal as DiagonalNormal
from vaezoo.distributions.normal import NormalMixture as NormalMixture
from vaezoo.distributions.normal import OptimalNormal as OptimalNormal
from vaezoo.distributions.normal import UnitNormal as UnitNormal
from vaezoo.distributions.normal import independent as independent
from vaezoo.distributions.normal import normal_log_prob as normal_log_prob
from vaezoo.distributions.normal import soft_clip as soft_clip
from vaezoo.distributions.paths import lerp as lerp
from vaezoo.distributions.paths import slerp as slerp
