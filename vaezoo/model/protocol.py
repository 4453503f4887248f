"""What components may use of the model that is passed to them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.distributions import Distribution

from vaezoo.data.batch import Batch
from vaezoo.data.dataspec import DataSpec


class GenerativeModel(Protocol):
    """A model as its own components see it: ``vaezoo.Model`` has these members, and more.

    The type exists because the classes of components are defined before that of the model.
    """

    @property
    def data(self) -> DataSpec:
        """Describes one example."""

    @property
    def device(self) -> torch.device:
        """The device of the weights."""

    @property
    def encoder(self) -> Any:
        """The encoder."""

    @property
    def latents(self) -> Any:
        """The latents."""

    @property
    def decoder(self) -> Any:
        """The decoder."""

    @property
    def likelihood(self) -> Any:
        """The likelihood."""

    def context(self, condition: Any, n: int) -> Tensor | None:
        """The contexts of n examples, ``[n, ...]``; None for an unconditional model."""

    def features(self, batch: Batch, context: Tensor | None) -> tuple[Tensor, ...]:
        """The encoder's features of a batch, fine to coarse."""

    def posterior(self, batch: Batch, name: str = "z") -> Distribution:
        """q of the latent variable ``name`` for a batch, without its prior."""

    def likelihood_of(
        self, code: Tensor, context: Tensor | None, extras: Mapping[str, Tensor] | None
    ) -> Distribution:
        """p(x|z) for codes ``[B, ...]`` or ``[K, B, ...]``."""

    def start_inference(self, batch: Batch, k: int = 1) -> Any:
        """Encodes a batch for the inference of K samples, an ``Inference``."""

    def infer(self, inference: Any) -> Any:
        """A pass without the decoder, a ``Trace``."""

    def __call__(
        self,
        batch: Batch,
        k: int = 1,
        fixed: Mapping[str, Tensor] | None = None,
        *,
        encode: Batch | None = None,
    ) -> Any:
        """One pass over a batch, a ``Trace``."""

    def start_generation(self, n: int, context: Tensor | None = None) -> Any:
        """The arguments with which latents make n codes, a ``Generation``."""

    def detached(self) -> AbstractContextManager[None]:
        """Within, passes have no gradients and change no buffer: for the phase of another part."""

    def infer_detached(self, batch: Batch, k: int = 1) -> Any:
        """A pass without gradients, decoder or change of any buffer, a ``Trace``."""
