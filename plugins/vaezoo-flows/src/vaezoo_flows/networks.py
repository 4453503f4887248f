"""What flows of posteriors and priors have in common."""

from __future__ import annotations

import torch
from zuko.lazy import LazyComposedTransform


@torch.no_grad()
def start_as_identity(transform: LazyComposedTransform) -> LazyComposedTransform:
    """Sets the last layer of each network to 0, with which a transform changes nothing."""
    for part in transform.transforms:
        # the last layer of a network, or the numbers of a transform that has none
        *_, last = (layer for layer in part.modules() if [*layer.parameters(recurse=False)])
        for parameter in last.parameters(recurse=False):
            parameter.zero_()
    return transform
