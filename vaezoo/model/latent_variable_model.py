"""The generative model and its posterior, assembled from components, with the forward pass.

Shapes: K samples of the posterior, B examples, E context features, ``*`` any leading dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from vaezoo.data.batch import Batch, hide_missing
from vaezoo.data.conditions import parse_conditions
from vaezoo.data.dataspec import DataSpec
from vaezoo.data.mapping import first_tensor
from vaezoo.distributions import Density
from vaezoo.model.component import is_eager
from vaezoo.model.fusion import ContextFusion
from vaezoo.model.latents import Latents
from vaezoo.model.parts import Conditioner, Decoder, Encoder, Likelihood, Prior
from vaezoo.model.passes import Generation, Inference
from vaezoo.model.trace import Trace
from vaezoo.model.wiring import Space
from vaezoo.nn import masked
from vaezoo.nn.buffers import FrozenBuffers

MAX_DECODED_SCALARS = 2**21
"""The number of scalars that importance sampling decodes at once: each intermediate result then
takes 8 MiB, which fits a CPU cache."""
OWN_PRIOR, NO_PRIOR = "prior", "none"
"""Names of a model's priors: that of its latents, and no prior. Others are samplers."""
_MAX_BATCH_SIZE = 1000
_MAX_OUTPUTS = {"cpu": 2**20}
"""The number of scalars that a batch decodes, by device type: 4 MiB, which fits a CPU cache."""
_MAX_OUTPUTS_DEFAULT = 2**25  # 128 MiB for other device types


class LatentVariableModel(nn.Module):
    """p(x|z) p(z) and q(z|x), with the passes that training needs.

    The composer assembles it from components that do not depend on one another.

    Args:
        data: describes one example.
        latent_dim: ``model.latent_dim`` of the spec; ``spaces`` describes the latent variables.
        encoder, latents, decoder, likelihood: the components.
        code_shape: the shape of one code, the decoder's input before fusion.
        conditioner: maps a condition to a context; None for an unconditional model.
        into_encoder: fuses the context with the data; None if the encoder does not receive it.
        into_decoder: fuses the context with the code; None if the decoder does not receive it.
        into_prior: whether the prior receives the context.
        samplers: the priors that may replace that of the latents after training, by name.
        precision: ``fp32``, ``bf16`` or ``fp16``, for the networks. Distributions are always fp32.
    """

    class_counts: Tensor | None

    def __init__(
        self,
        data: DataSpec,
        *,
        latent_dim: int,
        encoder: Encoder,
        latents: Latents,
        decoder: Decoder,
        likelihood: Likelihood,
        code_shape: tuple[int, ...],
        conditioner: Conditioner | None = None,
        into_encoder: ContextFusion | None = None,
        into_decoder: ContextFusion | None = None,
        into_prior: bool = False,
        samplers: Mapping[str, Prior] | None = None,
        precision: str = "fp32",
    ) -> None:
        super().__init__()
        self.data, self.latent_dim, self.precision = data, latent_dim, precision
        self.encoder, self.latents = encoder, latents
        self.decoder, self.likelihood = decoder, likelihood
        self.code_shape, self.conditioner = code_shape, conditioner
        self.into_encoder, self.into_decoder = into_encoder, into_decoder
        self.into_prior = into_prior
        self.samplers = nn.ModuleDict(samplers)
        self.prior_name = OWN_PRIOR
        self.densities: dict[str, Density] = {}
        """The weakest density of the latent variables for each prior, found by the composer."""
        has_labels = conditioner is not None and bool(data.classes)
        class_counts = torch.zeros(len(data.classes)) if has_labels else None
        self.register_buffer("class_counts", class_counts)
        self._frozen_buffers = FrozenBuffers()

    def count_classes(self, labels: Tensor | None) -> None:
        """Stores how often each class occurs in training, for p(y).

        Args:
            labels: ``[n]``; labels below 0 are unknown and not counted.
        """
        if self.class_counts is not None and labels is not None:
            counts = torch.bincount(labels[labels >= 0], minlength=len(self.data.classes))
            self.class_counts.copy_(counts)

    @property
    def takes_unknown_labels(self) -> bool:
        """Whether examples may lack a label: the model has no condition, or does without one."""
        if self.conditioner is None:
            return True
        try:
            self.conditioner.unconditional_context(1)
        except ValueError:
            return False
        return True

    @property
    def trained_classes(self) -> tuple[str, ...]:
        """The names of the classes that occurred in training."""
        if self.class_counts is None or not bool(self.class_counts.any()):
            return self.data.classes
        counts = self.class_counts.tolist()
        return tuple(name for name, n in zip(self.data.classes, counts, strict=True) if n)

    @property
    def log_class_prior(self) -> Tensor:
        """log p(y) from the class counts of training, ``[classes]``; uniform without counts."""
        assert self.class_counts is not None, "the model is not conditional on a label"
        counts = self.class_counts if bool(self.class_counts.any()) else self.class_counts + 1
        return (counts / counts.sum()).log()

    @property
    def spaces(self) -> tuple[Space, ...]:
        """The latent variables, in the order of generation."""
        return self.latents.spaces

    @property
    def own_parts(self) -> tuple[str, ...]:
        """The names of its parts without samplers, which are fitted or trained later."""
        return tuple(name for name, _ in self.named_children() if name != "samplers")

    @property
    def density(self) -> Density:
        """The weakest density of the latent variables, with the prior that is in use."""
        return self.densities.get(self.prior_name, "exact")

    @property
    def sampler(self) -> Prior | None:
        """The sampler that replaces the prior of the latents; None if that is in use."""
        if self.prior_name in (OWN_PRIOR, NO_PRIOR):
            return None
        sampler: Any = self.samplers[self.prior_name]
        return sampler

    def check_sampler(self, name: str) -> None:
        """Raises ValueError if the model has no sampler of a name."""
        if name not in self.samplers:
            known = ", ".join(self.samplers) or "none"
            raise ValueError(f"no sampler named {name!r}; the model has {known}")

    @contextmanager
    def use_prior(self, name: str) -> Iterator[None]:
        """Within the context, all passes use the prior of a name.

        Args:
            name: a sampler; or ``prior``, that of the latents; or ``none``, which computes none.

        Raises:
            ValueError: the model has no such sampler.

        Example:
            >>> import vaezoo
            >>> model = vaezoo.load("vae-mnist-conv")
            >>> with model.use_prior("prior"):  # or the name of a sampler
            ...     x = model.sample(2)
        """
        if name not in (OWN_PRIOR, NO_PRIOR):
            self.check_sampler(name)
        previous, self.prior_name = self.prior_name, name
        try:
            yield
        finally:
            self.prior_name = previous

    @property
    def eager(self) -> bool:
        """Whether a component differentiates within a pass."""
        return is_eager(self)

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return next(self.parameters()).device

    def autocast(self) -> AbstractContextManager[object]:
        """The autocast context in which the networks run."""
        if self.precision == "fp32":
            return nullcontext()
        dtype = torch.float16 if self.precision == "fp16" else torch.bfloat16
        return torch.autocast(self.device.type, dtype)

    @property
    def decoder_outputs(self) -> int:
        """The number of scalars that the decoder outputs for one example."""
        return math.prod(self.likelihood.parameter_shape)

    def batch_size(self, samples: int = 1) -> int:
        """The number of examples in a batch at inference, for ``samples`` codes per example."""
        max_outputs = _MAX_OUTPUTS.get(self.device.type, _MAX_OUTPUTS_DEFAULT)
        return max(1, min(_MAX_BATCH_SIZE, max_outputs // (self.decoder_outputs * samples)))

    @property
    def importance_batch_size(self) -> int:
        """The number of examples in a batch of importance sampling, which decodes in chunks."""
        return max(1, min(_MAX_BATCH_SIZE // 2, MAX_DECODED_SCALARS // self.decoder_outputs))

    def samples_per_chunk(self, examples: int) -> int:
        """The number of samples of each example that importance sampling decodes at once."""
        return max(1, MAX_DECODED_SCALARS // (examples * self.decoder_outputs))

    @contextmanager
    def inference(
        self, precision: str | None = None, *, others: Iterable[nn.Module] = ()
    ) -> Iterator[None]:
        """Disables gradients, and caches the weights in lower precision across batches.

        With a component that differentiates within a pass it is ``torch.no_grad``, otherwise
        ``torch.inference_mode``.

        Args:
            precision: the precision of the networks within the context; None leaves it unchanged.
            others: components outside the model that run within the context, such as critics.
        """
        previous, self.precision = self.precision, precision or self.precision
        eager = self.eager or any(is_eager(module) for module in others)
        no_gradients = torch.no_grad() if eager else torch.inference_mode()
        try:
            # the weight cache of autocast lives until the outermost autocast context ends
            with no_gradients, torch.autocast(self.device.type, enabled=False):
                yield
        finally:
            self.precision = previous

    def context(self, condition: Tensor | np.ndarray | int | str | None, n: int) -> Tensor | None:
        """The contexts of n examples, ``[n, ...]``; None for an unconditional model.

        Args:
            condition: ``[n, ...]``; or one for all examples, such as ``9`` or
                ``color=red,digit=7``. If the text describes several, they are used in turn.
            n: the number of examples.

        Raises:
            ValueError: the condition is missing although the model requires one, or its shape is
                wrong, or the model is not conditional.
            UsageError: the class or attribute does not exist.
        """
        if isinstance(condition, int | str):
            if self.conditioner is None:
                raise ValueError("this model is not conditional; leave condition out")
            conditions, names = parse_conditions(self.data, str(condition), self.trained_classes)
            condition = conditions[torch.arange(n) % len(names)]
        if self.conditioner is None:
            return None
        if condition is None:
            return self.conditioner.unconditional_context(n)
        raw = torch.as_tensor(condition, device=self.device)
        shape = self.data.condition_shape
        if shape is not None and tuple(raw.shape) != (n, *shape):
            has_names = self.data.classes or self.data.condition_fields
            hint = "; one condition for all is an int or text" if has_names else ""
            raise ValueError(
                f"conditions for {n} examples have the shape {(n, *shape)}, not "
                f"{tuple(raw.shape)}{hint}"
            )
        return self.conditioner(raw if shape == () else raw.float())

    def features(self, batch: Batch, context: Tensor | None) -> tuple[Tensor, ...]:
        """The encoder's features of a batch, fine to coarse, in the precision of the networks."""
        with self.autocast():
            if context is None or self.into_encoder is None:
                x = hide_missing(batch) if self.data.parts else batch.x
                return self.encoder(x, batch.mask)
            fused = self.into_encoder(masked(batch.x, batch.mask), context)
            mask = batch.step_mask if self.data.is_sequence else batch.mask
            return self.encoder(fused, self.into_encoder.fused_mask(mask))

    def start_inference(
        self,
        batch: Batch,
        k: int = 1,
        fixed: Mapping[str, Tensor] | None = None,
        *,
        memo: dict[int, Distribution] | None = None,
    ) -> Inference:
        """Encodes a batch, for the inference of its latent variables.

        Args:
            batch: the examples.
            k, fixed, memo: as in ``Inference``.
        """
        # not len(batch), which would fix the batch size in an exported program
        context = self.context(batch.condition, first_tensor(batch.x).shape[0])
        return Inference(
            model=self,
            batch=batch,
            features=self.features(batch, context),
            context=context,
            prior_context=self.prior_context(context),
            k=k,
            fixed=fixed or {},
            memo=memo,
            has_priors=self.prior_name != NO_PRIOR,
            sampler=self.sampler,
        )

    def infer(self, inference: Inference) -> Trace:
        """Draws K samples from q(z|x), without decoding them.

        Raises:
            ValueError: there is no latent variable of a name in ``inference.fixed``.
            NotImplementedError: the latents cannot fix it.
        """
        sites, code = self.latents.infer(inference)
        trace = Trace(self, inference.batch, sites, code, None, inference.context)
        for name, value in inference.fixed.items():
            if trace.site(name).z is not value:
                raise NotImplementedError(
                    f"{type(self.latents).__name__} cannot fix the latent variable {name!r}"
                )
        return trace

    def posterior(self, batch: Batch, name: str = "z") -> Distribution:
        """q(z|x) of one latent variable for a batch, without computing priors.

        A prior may therefore call it, for example to encode pseudo-inputs.

        Args:
            batch: the examples; their conditions are used only if q depends on them.
            name: the name of the latent variable.

        Raises:
            ValueError: there is no latent variable of this name.
        """
        context = None
        if self.into_encoder is not None or (self.into_prior and self.latents.conditional):
            context = self.context(batch.condition, len(batch))
        features, prior_context = self.features(batch, context), self.prior_context(context)
        inference = Inference(
            model=self,
            batch=batch,
            features=features,
            context=context,
            prior_context=prior_context,
            has_priors=False,
        )
        return self.infer(inference).site(name).q

    def prior_context(self, context: Tensor | None) -> Tensor | None:
        """The context of the prior, flattened to ``[B, E]``; None if the prior receives none."""
        return context.flatten(1) if context is not None and self.into_prior else None  # [B, E]

    def likelihood_of(
        self, code: Tensor, context: Tensor | None, extras: Mapping[str, Tensor] | None
    ) -> Distribution:
        """p(x|z) for given codes.

        Args:
            code: ``[B, *code_shape]`` or ``[K, B, *code_shape]``; sequences may have fewer steps.
            context: ``[B, ...]``, repeated for each of the K samples; or None.
            extras: those of the examples, ``[B, ...]`` by name, such as ``batch.extras``; None
                takes the typical ones of the likelihood.

        Returns:
            A distribution over data ``[*, *shape]``, with the leading dimensions of ``code``; for
            data of several parts a ``Joint`` distribution.
        """
        lead = code.shape[: code.dim() - len(self.code_shape)]  # (B,) or (K, B)
        flat = code.reshape(-1, *code.shape[len(lead) :])  # [K * B, *code_shape]
        with self.autocast():
            if context is not None and self.into_decoder is not None:
                # [B, ...] -> [K, B, ...] -> [K * B, ...]
                repeated = context.expand(*lead, *context.shape[1:])
                repeated = repeated.reshape(-1, *context.shape[1:])
                flat = self.into_decoder(flat, repeated)
            output = self.decoder(flat)
        if extras is None:
            extras = self.likelihood.typical_extras(lead[-1])
        # [K, B, *parameter_shape]
        return self.likelihood(output.float().reshape(*lead, *output.shape[1:]), extras)

    def start_generation(
        self,
        n: int,
        context: Tensor | None = None,
        prior_temperature: float = 1.0,
        extras: Mapping[str, Tensor] | None = None,
    ) -> Generation:
        """The arguments with which latents make n codes.

        Args:
            n: the number of codes.
            context: the contexts ``[n, ...]``, or None.
            prior_temperature, extras: as in ``Generation``.
        """
        prior_context = self.prior_context(context)
        return Generation(
            self,
            n,
            context,
            prior_context,
            prior_temperature,
            sampler=self.sampler,
            extras=extras,
        )

    def forward(
        self,
        batch: Batch,
        k: int = 1,
        fixed: Mapping[str, Tensor] | None = None,
        *,
        encode: Batch | None = None,
    ) -> Trace:
        """One pass over a batch: draws K samples from q(z|x) and decodes them.

        Args:
            batch: the examples.
            k: the number of samples.
            fixed: values of latent variables by name, ``[K, B, *event]``, in place of samples.
            encode: the same examples as the encoder sees them, such as ``batch.only("image")``;
                None encodes ``batch``, which is what the likelihood scores in either case.

        Raises:
            ValueError, NotImplementedError: as for ``infer``.
        """
        trace = self.infer(self.start_inference(batch if encode is None else encode, k, fixed))
        px = self.likelihood_of(trace.code, trace.context, batch.extras)
        return Trace(self, batch, trace.sites, trace.code, px, trace.context)

    @contextmanager
    def detached(self) -> Iterator[None]:
        """Within, passes have no gradients and change no buffer: for the phase of another part."""
        with torch.no_grad(), self._frozen_buffers(self):
            yield

    def infer_detached(self, batch: Batch, k: int = 1) -> Trace:
        """Infers latents for another phase: no gradients, no decoder, no change to any buffer."""
        with self.detached():
            return self.infer(self.start_inference(batch, k))
