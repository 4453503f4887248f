"""A tiny model with a latent variable at each step, in which losses meet masks of steps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from vaezoo.model.latents import Latents, LatentsWiring
from vaezoo.model.parts import Decoder, Encoder
from vaezoo.model.passes import Generation, Inference
from vaezoo.model.trace import Site
from vaezoo.model.wiring import DecoderWiring, EncoderWiring
from vaezoo.nn import masked
from vaezoo.plugins.registration import (
    THIS_PROCESS,
    RegisteredEntry,
    class_name,
    registered_for_now,
)

NAME = "each-step-under-test"
"""The name of the parts in specs."""


class StepEncoder(Encoder):
    """One layer at each step."""

    def __init__(self, wiring: EncoderWiring, /) -> None:
        super().__init__()
        self.linear = nn.Linear(wiring.in_shape[-1], 6)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, ...]:
        """From ``[B, T, D]`` to features ``[B, T, 6]``."""
        return (self.linear(masked(x, mask)).tanh(),)


class StepLatents(Latents):
    """A vector at each step, independent of the others."""

    def __init__(self, wiring: LatentsWiring, /) -> None:
        super().__init__()
        self.spaces = (wiring.space,)
        self.steps, width = wiring.feature_shapes[0]
        self.posterior = wiring.posterior((width,), wiring.space)
        self.prior = wiring.prior(wiring.space)

    def infer(self, inference: Inference) -> tuple[tuple[Site, ...], Tensor]:
        """One site with ``z`` ``[K, B, T, D]``."""
        q = self.posterior(inference.features[0].float())  # batch shape [B, T]
        z = q.rsample(torch.Size((inference.k,)))
        mask = inference.batch.step_mask
        return (Site(self.spaces[0].name, z, q, inference.p(self.prior), mask=mask),), z

    def generate(self, generation: Generation) -> Tensor:
        """Samples of the prior, ``[n, T, D]``."""
        return generation.p(self.prior).sample(torch.Size((generation.n, self.steps)))


class StepDecoder(Decoder):
    """One layer at each step."""

    def __init__(self, wiring: DecoderWiring, /) -> None:
        super().__init__()
        self.linear = nn.Linear(wiring.in_shape[-1], wiring.out_shape[-1])

    def forward(self, code: Tensor) -> Tensor:
        """From codes ``[N, T, D]`` to parameters ``[N, T, P]``."""
        out: Tensor = self.linear(code)
        return out


_PARTS = {"encoder": StepEncoder, "latents": StepLatents, "decoder": StepDecoder}


@contextmanager
def steps_known() -> Iterator[None]:
    """Within, specs may name the parts of the model."""
    with ExitStack() as stack:
        for kind, cls in _PARTS.items():
            entry = RegisteredEntry(
                kind=kind, name=NAME, target=class_name(cls), plugin=THIS_PROCESS, cls=cls
            )
            stack.enter_context(registered_for_now(entry))
        yield
