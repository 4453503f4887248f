"""The distribution of transformed noise.

In the docstrings ``*`` is the batch shape and D the number of dimensions of a vector.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import zuko  # noqa: F401 - gives torch's transforms the method call_and_ladj
from torch import Tensor
from torch.distributions import Distribution, Transform

from vaezoo.distributions import normal_log_prob

_POINTS = 64
"""How many pairs of points the mean of a flow is computed from."""


class Flow(Distribution):
    """The distribution of ``transform(noise)``, where the noise is normal.

    log p(z) = log N(noise; loc, scale) - log |det d transform / d noise| (Rezende & Mohamed 2015,
    eq. 5). The density of the last sample is kept, because for some transforms it is costly to
    find the noise that a value came from. It counts only for that tensor while it is unchanged (of
    which inference mode and compiled steps keep no record), and where gradients are on only if it
    was drawn with them.

    Args:
        loc, scale: of the noise, ``[*, D]``.
        transform: an invertible map of vectors ``[*, D]`` to vectors of the same shape.
        points: fixed points of N(0, I) that the mean is computed from, ``[M, D]``; see
            ``normal_points``.

    Example:
        >>> from torch.distributions import AffineTransform
        >>> shift = AffineTransform(torch.ones(2), torch.ones(2), event_dim=1)
        >>> flow = Flow(torch.zeros(2), torch.ones(2), shift, normal_points(2))
        >>> flow.mode
        tensor([1., 1.])
    """

    arg_constraints: dict[str, Any] = {}
    has_rsample = True

    def __init__(self, loc: Tensor, scale: Tensor, transform: Transform, points: Tensor) -> None:
        self.loc, self.scale, self.transform, self.points = loc, scale, transform, points
        # the last sample, its version, its log-density, and whether that has gradients
        self._last: tuple[Tensor, int, Tensor, bool] | None = None
        super().__init__(loc.shape[:-1], loc.shape[-1:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """The mean of the images of fixed points of the noise, ``[*, D]``.

        It has no closed form. With these points the error is a few percent of the standard
        deviation, and the same in every call.
        """
        points = self.points.reshape(-1, *(1,) * (self.loc.dim() - 1), self.points.shape[-1])
        values: Tensor = self.transform(self.loc + self.scale * points)  # [M, *, D]
        return values.mean(0)

    @property
    def mode(self) -> Tensor:
        """The image of the mean of the noise, ``[*, D]``, which stands for the mode."""
        image: Tensor = self.transform(self.loc)
        return image

    def tempered(self, temperature: float) -> Flow:
        """The variance of the noise is multiplied by the temperature."""
        scale = self.scale * math.sqrt(temperature)
        return Flow(self.loc, scale, self.transform, self.points)

    def rsample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:  # noqa: B008
        """Samples vectors ``[*sample_shape, *, D]``."""
        shape = self._extended_shape(sample_shape)
        unit = torch.randn(shape, dtype=self.loc.dtype, device=self.loc.device)
        noise = self.loc + self.scale * unit
        value, log_det = self.transform.call_and_ladj(noise)
        log_prob = self._log_prob_of_noise(noise) - log_det
        self._last = value, _version(value), log_prob, torch.is_grad_enabled()
        return value

    def sample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:  # noqa: B008
        """Samples without gradients, ``[*sample_shape, *, D]``."""
        with torch.no_grad():
            return self.rsample(sample_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """The log-density of vectors ``[*, D]``, in nats, ``[*]``."""
        if self._last is not None:
            last, version, log_prob, has_gradients = self._last
            is_usable = has_gradients or not torch.is_grad_enabled()
            if last is value and _version(value) == version and is_usable:
                return log_prob
        noise, log_det = self.transform.inv.call_and_ladj(value)
        return self._log_prob_of_noise(noise) + log_det

    def _log_prob_of_noise(self, noise: Tensor) -> Tensor:
        return normal_log_prob(noise, self.loc, self.scale.log()).sum(-1)


def _version(value: Tensor) -> int:
    """How often a tensor was written; 0 for inference tensors, which do not count it.

    Also 0 while a step is compiled, whose graph it would split.
    """
    return 0 if torch.compiler.is_compiling() or value.is_inference() else value._version


def normal_points(dimensions: int) -> Tensor:
    """Points ``[M, D]`` spread like N(0, I), each with its mirror image; always the same."""
    sobol = torch.quasirandom.SobolEngine(dimensions, scramble=True, seed=0)
    uniform = sobol.draw(_POINTS, dtype=torch.float64)
    points = math.sqrt(2) * torch.erfinv((2 * uniform - 1).clamp(-1 + 1e-9, 1 - 1e-9))
    return torch.cat([points, -points]).float()
