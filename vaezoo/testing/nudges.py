"""Small changes at one place of a pass, to see what they change and what gradient flows back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from vaezoo.distributions import DiagonalNormal
from vaezoo.model.passes import Inference
from vaezoo.testing.case import Bench

PLACES = {
    "features": "the encoder's features",
    "posterior": "the parameters of the posterior",
    "z": "the samples z",
    "output": "the decoder's output",
}


def direction_of(value: Tensor) -> Tensor:
    """The direction of a nudge; not drawn, which would move the noise of the pass."""
    return torch.cos(1.7 * torch.arange(value.numel())).reshape(value.shape)


class Nudges:
    """Adds a small tensor at one place of a pass, to see what it changes.

    Args:
        place: one of ``PLACES``.
    """

    def __init__(self, place: str) -> None:
        self.place = place
        self.amount: float | None = None
        self.leaves: list[Tensor] = []

    def added(self, place: str, value: Tensor) -> Tensor:
        """``value``, plus a leaf of zeros whose gradient is wanted, or plus a small change."""
        if place != self.place or not value.is_floating_point():
            return value
        if self.amount is not None:
            return value + self.amount * direction_of(value)
        self.leaves.append(torch.zeros_like(value, requires_grad=True))
        return value + self.leaves[-1]

    @contextmanager
    def active(self, bench: Bench) -> Iterator[None]:
        """Within, passes through the model are nudged."""
        model: Any = bench.model
        features, infer = model.features, model.latents.infer

        def nudged_features(*args: Any) -> tuple[Tensor, ...]:
            return tuple(self.added("features", value) for value in features(*args))

        def nudged_infer(inference: Inference) -> Any:
            sites, code = infer(inference)
            if len(sites) != 1 or sites[0].z is not code or sites[0].log_q is not None:
                return sites, code
            (site,) = sites
            z, q = self.added("z", site.z), site.q
            if type(q) is DiagonalNormal and len(q.event_shape) == 1:
                loc = self.added("posterior", q.loc)
                q = DiagonalNormal(loc, q.log_scale + 0.5 * (loc - q.loc))
            return (replace(site, z=z, q=q),), z

        handle = model.decoder.register_forward_hook(
            lambda module, inputs, output: self.added("output", output)
        )
        model.features, model.latents.infer = nudged_features, nudged_infer
        try:
            yield
        finally:
            handle.remove()
            del model.features, model.latents.infer
