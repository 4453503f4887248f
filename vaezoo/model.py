"""The generative model that the composer assembles, and everything a user does with it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from vaezoo.estimators import SCALARS_AT_ONCE, importance
from vaezoo.facts import DataSpec
from vaezoo.fusion import Fusion
from vaezoo.interfaces import Conditioner, Decoder, Encoder, Latents, Likelihood
from vaezoo.nn import frozen_buffers, masked
from vaezoo.seeds import seeded
from vaezoo.trace import Batch, Site, Trace

P = ParamSpec("P")
R = TypeVar("R")

_LARGEST_BATCH = 1000
_OUTPUTS_AT_ONCE = 2**25  # 128 MiB for each intermediate result


def _inference(method: Callable[Concatenate[Model, P], R]) -> Callable[Concatenate[Model, P], R]:
    """Runs a method of a model inside ``Model.inference``."""

    @wraps(method)
    def wrapped(self: Model, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with self.inference():
            return method(self, *args, **kwargs)

    return wrapped


class Model(nn.Module):
    """p(x|z) p(z) and q(z|x), from components that know nothing of one another.

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
        """How many examples pass through the networks together, each decoded from ``samples`` codes."""
        if samples > 1:
            return max(1, min(_LARGEST_BATCH // 2, SCALARS_AT_ONCE // self.outputs))
        return max(1, min(_LARGEST_BATCH, _OUTPUTS_AT_ONCE // self.outputs))

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

    def context(self, condition: Tensor | np.ndarray | None, n: int) -> Tensor | None:
        """The contexts ``[n, ...]`` of n raw conditions, or of none; None for an unconditional model.

        Raises:
            ValueError: the model is conditional, cannot do without a condition, and there is none.
        """
        if self.conditioner is None:
            return None
        if condition is None:
            return self.conditioner.absent(n)
        return self.conditioner(torch.as_tensor(condition, device=self.device))

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
        flat = code.reshape(-1, *self.code_shape)
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
    def observe(self, batch: Batch, k: int = 1) -> Trace:
        """Infers for another player's phase: without gradients, decoder or change to any buffer."""
        with frozen_buffers(self):
            context = self.context(batch.condition, len(batch))
            sites, _ = self.infer(self.features(batch, context), context, batch.mask, k)
        return Trace(batch, sites, None, context)

    def prepare(self, x: Tensor | np.ndarray) -> Tensor:
        """Input as the model takes it: float, on its device; uint8 images are divided by 255.

        Raises:
            ValueError: one example has another shape than the model's.
        """
        tensor = torch.as_tensor(x, device=self.device)
        tensor = tensor.float() / 255 if tensor.dtype == torch.uint8 else tensor.float()
        if tuple(tensor.shape[1:]) != self.data.shape:
            raise ValueError(f"expected examples of shape {self.data.shape}, got {tuple(tensor.shape[1:])}")
        return tensor

    def batches(
        self,
        x: Tensor | np.ndarray,
        condition: Tensor | None = None,
        mask: Tensor | None = None,
        samples: int = 1,
    ) -> Iterator[Batch]:
        """``x`` in batches that fit ``samples`` codes for each example, with their conditions and masks."""
        whole = Batch(
            self.prepare(x),
            None if condition is None else torch.as_tensor(condition, device=self.device),
            None if mask is None else torch.as_tensor(mask, device=self.device),
        )
        size = self.batch_size(samples)
        for start in range(0, len(whole), size):
            yield whole.part(start, min(start + size, len(whole)))

    @_inference
    def encode(self, x: Tensor | np.ndarray, condition: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """The means of q(z|x), ``[B, D]``.

        Args:
            x: ``[B, *shape]`` in the model's input range, or uint8 images.
            condition, mask: as in ``Batch``.
        """
        return torch.cat([self.posterior_mean(batch) for batch in self.batches(x, condition, mask)])

    def posterior_mean(self, batch: Batch) -> Tensor:
        """The means of q(z|x) for one batch, ``[B, D]``; several sites stand side by side."""
        context = self.context(batch.condition, len(batch))
        return self.latents.posterior_mean(self.features(batch, context), self.prior_context(context), batch.mask)

    @_inference
    def decode(self, z: Tensor, condition: Tensor | None = None, *, mean: bool = True) -> Tensor:
        """Data for latent vectors.

        Args:
            z: ``[B, D]``.
            condition: ``[B, ...]`` for a conditional model.
            mean: the mean of p(x|z); else a draw from it.

        Returns:
            ``[B, *shape]`` in the model's data range.
        """
        z = torch.as_tensor(z, device=self.device, dtype=torch.float32)
        context = self.context(condition, len(z))
        size, decoded = self.batch_size(), []
        for start in range(0, len(z), size):
            part = None if context is None else context[start : start + size]
            decoded.append(self._render(self.latents.code(z[start : start + size]), part, mean))
        return torch.cat(decoded)

    def _render(self, code: Tensor, context: Tensor | None, mean: bool) -> Tensor:
        px = self.likelihood_of(code, context)
        return px.mean if mean else px.sample()

    @_inference
    def sample(self, n: int, condition: Tensor | None = None, *, mean: bool = True, seed: int | None = None) -> Tensor:
        """New data: z from the prior, then p(x|z).

        Args:
            n: how many.
            condition: ``[n, ...]`` for a conditional model.
            mean: show the mean of p(x|z); else draw from it too.
            seed: makes the call repeatable and leaves torch's own generator as it was.

        Returns:
            ``[n, *shape]`` in the model's data range.
        """
        context, size = self.context(condition, n), self.batch_size()
        with seeded(self.device, seed, "sample") if seed is not None else nullcontext():
            parts = []
            for start in range(0, n, size):
                part = None if context is None else context[start : start + size]
                code = self.latents.generate(min(size, n - start), self.prior_context(part))
                parts.append(self._render(code, part, mean))
        return torch.cat(parts)

    @_inference
    def reconstruct(
        self, x: Tensor | np.ndarray, condition: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """The mean of p(x|z) at a sample z of q(z|x), ``[B, *shape]``."""
        parts = []
        for batch in self.batches(x, condition, mask):
            context = self.context(batch.condition, len(batch))
            _, code = self.infer(self.features(batch, context), context, batch.mask, 1)
            parts.append(self.likelihood_of(code[0], context).mean)
        return torch.cat(parts)

    @_inference
    def interpolate(self, first: Tensor, second: Tensor, steps: int = 8, condition: Tensor | None = None) -> Tensor:
        """Data between two examples, along a straight line between their posterior means.

        Args:
            first, second: ``[B, *shape]``.
            steps: points on the line, both ends included.
            condition: ``[B, ...]`` for a conditional model.

        Returns:
            ``[B, steps, *shape]``.
        """
        ends = self.encode(first, condition), self.encode(second, condition)
        share = torch.linspace(0, 1, steps, device=self.device)[None, :, None]
        z = ends[0][:, None] * (1 - share) + ends[1][:, None] * share  # [B, steps, D]
        repeated = None if condition is None else torch.as_tensor(condition).repeat_interleave(steps, 0)
        return self.decode(z.flatten(0, 1), repeated).unflatten(0, (len(z), steps))

    @_inference
    def log_likelihood(
        self,
        x: Tensor | np.ndarray,
        samples: int = 500,
        condition: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """log p(x) of each example in nats by importance sampling, ``[B]``: a lower bound in expectation.

        Args:
            x: ``[B, *shape]``.
            samples: how many importance samples; more are tighter.
            condition, mask: as in ``Batch``.
        """
        batches = self.batches(x, condition, mask, max(2, samples))
        return torch.cat([importance(self, batch, samples)[0] for batch in batches])
