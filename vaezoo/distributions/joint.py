"""A distribution over several named parts, which are independent of each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch.distributions import Distribution

from vaezoo.distributions.drawing import mode, tempered


class Joint(Distribution):
    """Independent distributions by name; values are mappings from these names to tensors.

    It has no ``log_prob``: what is observed of each part is a matter of the likelihood.

    Args:
        parts: the distributions, all with the leading dimensions ``[*]``.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}

    def __init__(self, parts: Mapping[str, Distribution]) -> None:
        super().__init__(validate_args=False)
        self.parts = parts

    @property
    def mean(self) -> Any:
        """The mean of each part."""
        return self._map(lambda part: part.mean)

    @property
    def mode(self) -> Any:
        """The most probable value of each part."""
        return self._map(mode)

    def sample(self, sample_shape: Any = ()) -> Any:
        """Samples ``[*sample_shape, *]`` of each part."""
        return self._map(lambda part: part.sample(torch.Size(sample_shape)))

    def tempered(self, temperature: float) -> Joint:
        """The distribution with each part at a temperature."""
        return Joint(self._map(lambda part: tempered(part, temperature)))

    def _map(self, function: Callable[[Distribution], Any]) -> dict[str, Any]:
        return {name: function(part) for name, part in self.parts.items()}
