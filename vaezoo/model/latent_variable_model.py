"""The generative model and its posterior as the composer assembles them, and one pass through them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from vaezoo.data.batch import Batch
from vaezoo.data.conditions import parse
from vaezoo.data.dataspec import DataSpec
from vaezoo.model.fusion import Fusion
from vaezoo.model.parts import Conditioner, Decoder, Encoder, Latents, Likelihood
from vaezoo.model.trace import Site, Trace
from vaezoo.nn import masked
from vaezoo.nn.buffers import frozen_buffers

SCALARS_AT_ONCE = 2**21
"""How many decoded numbers are computed together: 8 MiB for each intermediate result, which fits a cache."""
_LARGEST_BATCH = 1000
_OUTPUTS_AT_ONCE = {"cpu": 2**20}  # 4 MiB for each intermediate result, which fits a cache; elsewhere 128 MiB


class LatentVariableModel(nn.Module):
    """p(x|z) p(z) and q(z|x), from components that know nothing of one another: the passes that training makes.

    Args:
        data: one example.
        latent_dim: the dimensions of a latent vector.
        encoder, latents, decoder, likelihood: the components.
        code_shape: of one code, as the latents give it.
        conditioner: turns a condition into the context; None for an unconditional model.
        into_encoder, into_decoder: how the context is joined to data and code; None where it is not.
        into_prior: whether the prior sees the context.
        precision: ``fp32``, ``bf16`` or ``fp16``: what networks compute in. Distributions are always fp32.
    """

    class_counts: Tensor | None

    def __init__(
        self,
        data: DataSpec,
        latent_dim: int,
        encoder: Encoder,
        latents: Latents,
        decoder: Decoder,
        likelihood: Likelihood,
        code_shape: tuple[int, ...],
        conditioner: Conditioner | None = None,
        into_encoder: Fusion | None = None,
        into_decoder: Fusion | None = None,
        into_prior: bool = False,
        precision: str = "fp32",
    ) -> None:
        super().__init__()
        self.data, self.latent_dim, self.precision = data, latent_dim, precision
        self.encoder, self.latents = encoder, latents
        self.decoder, self.likelihood = decoder, likelihood
        self.code_shape, self.conditioner = code_shape, conditioner
        self.into_encoder, self.into_decoder, self.into_prior = into_encoder, into_decoder, into_prior
        labelled = conditioner is not None and bool(data.classes)
        self.register_buffer("class_counts", torch.zeros(len(data.classes)) if labelled else None)

    def count_classes(self, labels: Tensor | None) -> None:
        """Remembers how often each class occurs in training, for p(y); labels below 0 are unknown."""
        if self.class_counts is not None and labels is not None:
            self.class_counts.copy_(torch.bincount(labels[labels >= 0], minlength=len(self.data.classes)))

    @property
    def trained_classes(self) -> tuple[str, ...]:
        """The names of the classes that occurred in training."""
        if self.class_counts is None or not bool(self.class_counts.any()):
            return self.data.classes
        counts = self.class_counts.tolist()
        return tuple(name for name, count in zip(self.data.classes, counts, strict=True) if count)

    @property
    def log_class_prior(self) -> Tensor:
        """log p(y) by the counts of training, ``[classes]``; uniform where nothing was counted."""
        assert self.class_counts is not None, "the model is not conditional on a label"
        counts = self.class_counts if bool(self.class_counts.any()) else self.class_counts + 1
        return (counts / counts.sum()).log()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def autocast(self) -> AbstractContextManager[object]:
        """The context in which networks run."""
        if self.precision == "fp32":
            return nullcontext()
        dtype = torch.float16 if self.precision == "fp16" else torch.bfloat16
        return torch.autocast(self.device.type, dtype)

    @property
    def outputs(self) -> int:
        """How many numbers the decoder gives for one example."""
        return math.prod(self.likelihood.parameter_shape)

    def batch_size(self, samples: int = 1) -> int:
        """How many examples pass through the networks together, each decoded from ``samples`` codes at once."""
        at_once = _OUTPUTS_AT_ONCE.get(self.device.type, 2**25)
        return max(1, min(_LARGEST_BATCH, at_once // (self.outputs * samples)))

    @property
    def importance_batch_size(self) -> int:
        """How many examples importance sampling takes together: it decodes their samples a few at a time."""
        return max(1, min(_LARGEST_BATCH // 2, SCALARS_AT_ONCE // self.outputs))

    def samples_at_once(self, examples: int) -> int:
        """How many samples of each of so many examples importance sampling decodes together."""
        return max(1, SCALARS_AT_ONCE // (examples * self.outputs))

    @contextmanager
    def inference(self, precision: str | None = None) -> Iterator[None]:
        """No gradients; and within it, weights are brought to a lower precision once, not for every batch.

        Args:
            precision: what networks compute in meanwhile; None leaves it as it is.
        """
        usual, self.precision = self.precision, precision or self.precision
        try:
            with torch.inference_mode(), torch.autocast(self.device.type, enabled=False):
                yield
        finally:
            self.precision = usual

    def context(self, condition: Tensor | np.ndarray | int | str | None, n: int) -> Tensor | None:
        """The contexts ``[n, ...]`` of n raw conditions, or of none; None for an unconditional model.

        Args:
            condition: ``[n, ...]``; or one for all, such as ``9`` or ``color=red,digit=7``; several take turns.
            n: how many.

        Raises:
            ValueError: the model is conditional, cannot do without a condition, and there is none; or they are not n.
            UsageError: there is no such class or attribute.
        """
        if isinstance(condition, int | str):
            if self.conditioner is None:
                raise ValueError("this model is not conditional; leave condition out")
            conditions, names = parse(self.data, str(condition), self.trained_classes)
            condition = conditions[torch.arange(n) % len(names)]
        if self.conditioner is None:
            return None
        if condition is None:
            return self.conditioner.unconditional_context(n)
        given, shape = torch.as_tensor(condition, device=self.device), self.data.condition_shape
        if shape is not None and tuple(given.shape) != (n, *shape):
            raise ValueError(f"conditions for {n} examples have the shape {(n, *shape)}, not {tuple(given.shape)}")
        return self.conditioner(given if shape == () else given.float())

    def features(self, batch: Batch, context: Tensor | None) -> tuple[Tensor, ...]:
        """What the encoder makes of a batch, fine to coarse, in the precision networks compute in."""
        with self.autocast():
            if context is None or self.into_encoder is None:
                return self.encoder(batch.x, batch.mask)
            joined = self.into_encoder(masked(batch.x, batch.mask), context)
            return self.encoder(joined, self.into_encoder.visible(batch.mask))

    def infer(
        self, features: tuple[Tensor, ...], context: Tensor | None, mask: Tensor | None, k: int
    ) -> tuple[tuple[Site, ...], Tensor]:
        """K samples of q(z|x): the sites, and the code ``[K, B, ...]``."""
        return self.latents.infer(features, self.prior_context(context), mask, k)

    def prior_context(self, context: Tensor | None) -> Tensor | None:
        """What the prior sees of a context: ``[B, E]``, flattened where it is a map; None where it sees nothing."""
        return context.flatten(1) if context is not None and self.into_prior else None

    def likelihood_of(self, code: Tensor, context: Tensor | None) -> Distribution:
        """p(x|z) for codes ``[B, ...]`` or ``[K, B, ...]``; a context ``[B, ...]`` is repeated over K."""
        lead = code.shape[: code.dim() - len(self.code_shape)]
        flat = code.reshape(-1, *code.shape[len(lead) :])
        with self.autocast():
            if context is not None and self.into_decoder is not None:
                repeated = context.expand(*lead, *context.shape[1:]).reshape(-1, *context.shape[1:])
                flat = self.into_decoder(flat, repeated)
            output = self.decoder(flat)
        return self.likelihood(output.float().reshape(*lead, *output.shape[1:]))

    def forward(self, batch: Batch, k: int = 1) -> Trace:
        """One pass: infer K samples, decode them."""
        context = self.context(batch.condition, len(batch))
        sites, code = self.infer(self.features(batch, context), context, batch.mask, k)
        return Trace(batch, sites, self.likelihood_of(code, context), context)

    @torch.no_grad()
    def infer_detached(self, batch: Batch, k: int = 1) -> Trace:
        """Infers for another player's phase: without gradients, decoder or change to any buffer."""
        with frozen_buffers(self):
            context = self.context(batch.condition, len(batch))
            sites, _ = self.infer(self.features(batch, context), context, batch.mask, k)
        return Trace(batch, sites, None, context)
