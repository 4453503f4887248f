"""Builds the model of a spec: each component as soon as the shapes of its inputs are known.

A component is then run on a batch of two examples of zeros to find the shapes of its outputs.
Components therefore need not compute their output shapes, and components that do not fit together
are reported before training starts.

Shapes: E numbers of a flattened context.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from vaezoo.data.dataspec import DataSpec, Shape
from vaezoo.model.fusion import ContextFusion
from vaezoo.model.latents import LatentsWiring
from vaezoo.model.model import Model
from vaezoo.model.parts import Conditioner, Prior
from vaezoo.model.trace import Trace
from vaezoo.model.wiring import (
    DecoderWiring,
    EncoderWiring,
    PosteriorWiring,
    PriorWiring,
    Space,
    Wiring,
)
from vaezoo.spec import checks, data_checks, dummies
from vaezoo.spec.options import ComponentSpec
from vaezoo.spec.schema import ModelSpec
from vaezoo.spec.spec import Spec
from vaezoo.utils.errors import VaezooError
from vaezoo.utils.seeds import seeded

T = TypeVar("T")
W = TypeVar("W", bound=Wiring)


class ModelBuilder:
    """Builds the components of one spec for one kind of data.

    Args:
        spec: what to build.
        data: describes one example.
        train_size: the number of training examples.
    """

    def __init__(self, spec: Spec, data: DataSpec, train_size: int) -> None:
        self.spec, self.data, self.train_size = spec, data, train_size
        self.priors: list[tuple[Prior, Space]] = []
        """The priors that the latents built, each with its latent variable."""
        self.builds_posterior = False
        """Whether the latents built the posterior of the spec."""

    def wiring(self, cls: type[W], context: Tensor | None = None, **facts: Any) -> W:
        """A wiring object.

        Args:
            cls: its class.
            context: the contexts that the component is passed, or None.
            facts: the attributes that only this class has.
        """
        shape = None if context is None else tuple(context.shape[1:])
        return cls(
            data=self.data,
            train_size=self.train_size,
            context_shape=shape,
            into=frozenset() if self.spec.model.condition is None else self.spec.into,
            **facts,
        )

    def build(self, component: ComponentSpec, wiring: Wiring) -> Any:
        """Constructs a component; errors are reported at its position in the spec."""
        return self.locate_errors(component, lambda: component.build(wiring))

    def locate_errors(self, component: ComponentSpec, action: Callable[[], T]) -> T:
        """The result of ``action``; errors are reported at the component's position."""
        return component.locate_errors(action, partial(self.spec.problem, component.path))

    def probe(self, component: ComponentSpec, module: nn.Module, *inputs: Any) -> Any:
        """The output of a component's module, in evaluation mode and without gradients."""

        def call() -> Any:
            module.eval()
            with torch.no_grad():
                output = module(*inputs)
            module.train()
            return output

        return self.locate_errors(component, call)

    def model(self) -> tuple[Model, Tensor | None]:
        """The model, and its contexts for two conditions of zeros."""
        parts, data = self.spec.model, self.data
        data_checks.check_parts(self.spec, data)
        conditioner, context = self.conditioner()
        encoder_shape = (math.prod(data.shape),) if parts.encoder.cls.takes_vectors else data.shape
        into_encoder = self.fusion("encoder", encoder_shape, context)
        encoder, feature_shapes = self.encoder(into_encoder, context)
        into_prior = context is not None and "prior" in self.spec.into
        prior_context = context if into_prior else None
        latents = self.latents(feature_shapes, prior_context)
        likelihood = self.build(parts.likelihood, self.wiring(Wiring))
        model = Model(
            data=data,
            latent_dim=parts.latent_dim,
            encoder=encoder,
            latents=latents,
            decoder=dummies.NoDecoder(),
            likelihood=likelihood,
            code_shape=(),
            conditioner=conditioner,
            into_encoder=into_encoder,
            into_prior=into_prior,
            samplers=self.samplers(latents.spaces, prior_context),
        )
        self.probe_priors(model, context)
        model.code_shape = self.code_shape(model, self.features(encoder, into_encoder), context)
        model.into_decoder = self.fusion("decoder", model.code_shape, context)
        model.decoder = self.decoder(model, context)
        return model, context

    def fusion(self, part: str, shape: Shape, context: Tensor | None) -> ContextFusion | None:
        """Fuses the context with the input of a part; None if the part takes no context."""
        if context is None or part not in self.spec.into:
            return None
        return ContextFusion(shape, tuple(context.shape[1:]), self.spec.fuse)

    def encoder(
        self, fusion: ContextFusion | None, context: Tensor | None
    ) -> tuple[Any, tuple[Shape, ...]]:
        """The encoder, and the shapes of its features for one example."""
        component = self.spec.model.encoder
        in_shape = self.data.shape if fusion is None else fusion.out_shape
        wiring = self.wiring(EncoderWiring, None if fusion is None else context, in_shape=in_shape)
        encoder = self.build(component, wiring)
        features = self.probe(component, encoder, *dummies.encoder_input(self.data, fusion))
        checks.check_features(self.spec, features)
        return encoder, tuple(tuple(feature.shape[1:]) for feature in features)

    def features(self, encoder: Any, fusion: ContextFusion | None) -> tuple[Tensor, ...]:
        """The encoder's features of two examples of zeros; with one step if the length varies."""
        component, data = self.spec.model.encoder, self.data
        if not data.variable_length and not self.spec.model.latents.cls.stepwise:
            return self.probe(component, encoder, *dummies.encoder_input(self.data, fusion))
        try:
            return self.probe(component, encoder, *dummies.encoder_input(self.data, fusion, 1))
        except VaezooError as error:
            message = (
                f"encoder {component.name!r} works only with {data.shape[0]} steps, but there can "
                "be fewer; use an encoder for sequences of any length"
            )
            raise self.spec.problem(component.path, message) from error

    def conditioner(self) -> tuple[Conditioner | None, Tensor | None]:
        """The conditioner, and its contexts for two conditions of zeros."""
        component = self.spec.model.condition
        if component is None:
            return None, None
        if self.data.condition_shape is None:
            raise self.spec.problem(
                component.path,
                f"data set {self.spec.data.name!r} has no condition; remove model.condition, or "
                "use data with labels or other conditions",
            )
        conditioner = self.build(component, self.wiring(Wiring))
        return conditioner, self.probe(component, conditioner, dummies.conditions(self.data))

    def latents(self, feature_shapes: tuple[Shape, ...], context: Tensor | None) -> Any:
        """The latents, which build as many posteriors and priors as they need.

        Args:
            feature_shapes: the shapes of the encoder's features.
            context: the contexts ``[2, ...]`` of the prior, or None.
        """
        parts = self.spec.model
        flat_context = None if context is None else context.flatten(1)  # [2, E]
        if context is not None and not (
            parts.prior.cls.conditional or parts.latents.cls.conditional
        ):
            message = (
                f"prior {parts.prior.name!r} cannot use a condition; "
                "remove prior from model.condition.into"
            )
            raise self.spec.problem(parts.prior.path, message)

        def build_posterior(in_shape: Shape, space: Space) -> Any:
            checks.check_posterior_support(self.spec, space)
            self.builds_posterior = True
            wiring = self.wiring(PosteriorWiring, in_shape=in_shape, space=space)
            return self.build(parts.posterior, wiring)

        def build_prior(space: Space) -> Any:
            checks.check_prior_support(self.spec, space)
            prior_context = flat_context if parts.prior.cls.conditional else None
            wiring = self.wiring(PriorWiring, prior_context, space=space)
            prior = self.build(parts.prior, wiring)
            self.priors.append((prior, space))
            return prior

        wiring = self.wiring(
            LatentsWiring,
            flat_context,
            feature_shapes=feature_shapes,
            space=Space((parts.latent_dim,), parts.posterior.cls.support),
            posterior=build_posterior,
            prior=build_prior,
        )
        latents = self.build(parts.latents, wiring)
        checks.check_spaces(self.spec, latents)
        used = {"prior": bool(self.priors), "posterior": self.builds_posterior}
        for role, is_used in used.items():
            component = getattr(parts, role)
            if not is_used and component.name != ModelSpec.model_fields[role].default:
                message = (
                    f"latents {parts.latents.name!r} define their own {role}; remove model.{role}"
                )
                raise self.spec.problem(component.path, message)
        return latents

    def samplers(self, spaces: tuple[Space, ...], context: Tensor | None) -> dict[str, Prior]:
        """The priors that may replace that of the latents.

        Args:
            spaces: the latent variables.
            context: the contexts ``[2, ...]`` of the prior, or None.
        """
        samplers: dict[str, Prior] = {}
        for name, component in self.spec.samplers.items():
            if len(self.priors) != 1 or len(spaces) != 1:
                message = (
                    f"latents {self.spec.model.latents.name!r} have no prior that a sampler can "
                    "replace: they need exactly one latent variable, with the prior of the spec"
                )
                raise self.spec.problem(component.path, message)
            checks.check_sampler_support(self.spec, component, spaces[0])
            flat_context = None if context is None else context.flatten(1)  # [2, E]
            cls: Any = component.cls
            prior_context = flat_context if cls.conditional else None
            wiring = self.wiring(PriorWiring, prior_context, space=spaces[0])
            # random numbers of its own, so that a sampler changes no weights of the model
            with seeded(torch.device("cpu"), self.spec.seed, "sampler", name):
                samplers[name] = self.build(component, wiring)
        return samplers

    def probe_priors(self, model: Model, context: Tensor | None) -> None:
        """Calls the priors once, so that an error is reported at the line of the prior."""
        own = [(self.spec.model.prior, prior, space) for prior, space in self.priors]
        samplers: list[tuple[ComponentSpec, Any, Space]] = [
            (component, model.samplers[name], self.priors[0][1])
            for name, component in self.spec.samplers.items()
        ]
        generation = model.start_generation(2, context)
        model.eval()
        with torch.no_grad(), seeded(torch.device("cpu")):
            for component, prior, space in (*own, *samplers):
                p = self.locate_errors(component, partial(generation.p, prior))
                checks.check_distribution(self.spec, component, p, space)
                checks.check_batch_shape(self.spec, component, p, space.name, (2,))
        model.train()

    def code_shape(
        self, model: Model, features: tuple[Tensor, ...], context: Tensor | None
    ) -> Shape:
        """The shape of the decoder's input for one example.

        Stepwise latents generate one step here; the shape has the data's number of steps.

        Args:
            model: the model without its decoder.
            features: the features of one step, for stepwise latents.
            context: the contexts ``[2, ...]`` of the model, or None.
        """
        component, stepwise = self.spec.model.latents, self.spec.model.latents.cls.stepwise
        if stepwise and not self.data.is_sequence:
            message = (
                f"latents {component.name!r} need sequences, "
                f"but examples have shape {self.data.shape}"
            )
            raise self.spec.problem(component.path, message)
        generation = model.start_generation(2, context)
        if stepwise:
            generation = replace(generation, steps=1, next_features=lambda code: features)
        # latents stay in training mode: initial weights depend on the numbers that they draw here
        model.eval()
        model.latents.train()
        with torch.no_grad():
            code = self.locate_errors(component, lambda: model.latents.generate(generation))
        model.train()
        if code.dim() < 2 or code.shape[0] != 2:
            message = (
                f"latents {component.name!r}: expected codes (2, ...), got {tuple(code.shape)}"
            )
            raise self.spec.problem(component.path, message)
        return (self.data.shape[0], *code.shape[2:]) if stepwise else tuple(code.shape[1:])

    def infer(self, model: Model) -> Trace:
        """The latent variables inferred from two examples of zeros."""
        batch = dummies.batch(
            self.data,
            stepwise=model.latents.stepwise,
            conditional=model.conditioner is not None,
        )
        model.eval()
        with model.inference():  # as in validation, where a missing `eager` would fail
            trace = self.locate_errors(
                self.spec.model.latents, lambda: model.infer(model.start_inference(batch))
            )
        model.train()
        return trace

    def decoder(self, model: Model, context: Tensor | None) -> Any:
        """The decoder, checked to return the parameters that the likelihood needs."""
        component, fusion = self.spec.model.decoder, model.into_decoder
        in_shape = model.code_shape if fusion is None else fusion.out_shape
        out_shape = model.likelihood.parameter_shape
        wiring = self.wiring(
            DecoderWiring,
            None if fusion is None else context,
            in_shape=in_shape,
            out_shape=out_shape,
            part_shapes=model.likelihood.part_shapes,
        )
        decoder = self.build(component, wiring)
        actual = tuple(self.probe(component, decoder, torch.zeros(2, *in_shape)).shape)
        if actual != (2, *out_shape):
            likelihood = self.spec.model.likelihood.name
            message = (
                f"likelihood {likelihood!r} expects shape {out_shape}, "
                f"but the decoder returns {actual[1:]}"
            )
            raise self.spec.problem(component.path, message)
        return decoder
