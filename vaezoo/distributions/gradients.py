"""Whether a training term can train through the mean of a distribution."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.distributions import Distribution


def differentiable_mean(px: Distribution) -> Any:
    """The mean of p(x|z), or of each of its parts, for a loss that trains through it.

    A mean that is estimated from samples, or that picks a category, has no gradient, so that
    such a loss would train nothing.

    Returns:
        ``[*, *event]``, or a mapping from the names of the parts to such tensors.

    Raises:
        ValueError: the mean, or that of a part, has no gradient.
    """
    mean: Tensor | Mapping[str, Tensor] = px.mean
    if not isinstance(mean, Mapping):
        if not mean.requires_grad:
            raise ValueError("the mean of p(x|z) has no gradient with this likelihood")
        return mean
    for name, part in mean.items():
        if not part.requires_grad:
            raise ValueError(
                f"the mean of p(x|z) has no gradient with the likelihood of part {name!r}"
            )
    return mean
