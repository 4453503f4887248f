"""What flows of posteriors and priors have in common."""

from __future__ import annotations

import torch
from zuko.lazy import LazyComposedTransform

import vaezoo


@torch.no_grad()
def start_as_identity(transform: LazyComposedTransform) -> LazyComposedTransform:
    """Sets the last layer of each network to 0, with which a transform changes nothing."""
    for part in transform.transforms:
        # the last layer of a network, or the numbers of a transform that has none
        *_, last = (layer for layer in part.modules() if [*layer.parameters(recurse=False)])
        for parameter in last.parameters(recurse=False):
            parameter.zero_()
    return transform


def vector_size(space: vaezoo.Space) -> int:
    """D of latent vectors ``[D]``.

    Raises:
        ValueError: the latent variable is a map.
    """
    if len(space.shape) != 1:
        raise ValueError(f"needs latent vectors, not maps of shape {space.shape}")
    return space.shape[0]
