"""Builds the model and the training task of a spec; the only code that connects components.

Each component is built as soon as the shapes of its inputs are known, and then run on a batch of
two examples of zeros to find the shapes of its outputs. Components therefore need not compute
their output shapes, and components that do not fit together are reported before training starts.

Shapes: E numbers of a flattened context.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from vaezoo.data.dataspec import DataSpec, Shape
from vaezoo.model.fusion import ContextFusion
from vaezoo.model.generation import Generation
from vaezoo.model.model import Model
from vaezoo.model.objectives import Regularizer
from vaezoo.model.parts import Conditioner
from vaezoo.model.task import Task, unique_name
from vaezoo.model.wiring import TaskWiring
from vaezoo.spec.options import ComponentSpec
from vaezoo.spec.spec import Spec
from vaezoo.utils.errors import VaezooError, one_line
from vaezoo.utils.seeds import seeded

T = TypeVar("T")


def compose(spec: Spec, data: DataSpec, train_size: int) -> Task:
    """Builds the model, the objective and the regularizers of a spec.

    The initial weights depend only on the spec, including its seed.

    Args:
        spec: what to build.
        data: the description of one example, such as ``spec.data.build().spec``.
        train_size: the number of training examples.

    Raises:
        SpecError: components do not fit together; the message contains the expected and the
            actual shape.

    Example:
        >>> import vaezoo
        >>> spec = vaezoo.load_spec({
        ...     "spec": "vaezoo/v1",
        ...     "name": "tiny",
        ...     "data": "digits",
        ...     "model": {
        ...         "latent_dim": 2,
        ...         "encoder": {"type": "mlp", "hidden": [32]},
        ...         "decoder": {"type": "mlp", "hidden": [32]},
        ...         "likelihood": "bernoulli",
        ...     },
        ... })
        >>> dataset = spec.data.build()
        >>> task = vaezoo.compose(spec, dataset.spec, train_size=1437)
        >>> task.model.sample(3).shape
        torch.Size([3, 1, 8, 8])
    """
    with seeded(torch.device("cpu"), spec.seed, "weights"):
        return _Composer(spec, data).task(train_size)


class _Composer:
    """Builds the components of one spec for one kind of data."""

    def __init__(self, spec: Spec, data: DataSpec) -> None:
        self.spec, self.data = spec, data

    def build(self, component: ComponentSpec, *wiring: Any) -> Any:
        """Constructs a component; errors are reported at its position in the spec."""
        return self.locate_errors(component, lambda: component.build(*wiring))

    def locate_errors(self, component: ComponentSpec, action: Callable[[], T]) -> T:
        """The result of ``action``; errors are reported at the component's position."""
        try:
            return action()
        except VaezooError:
            raise
        except (ValueError, TypeError, RuntimeError, NotImplementedError) as error:
            reason = one_line(error)
            message = f"{component.kind} {component.name!r}: {reason}"
            raise self.spec.problem(component.path, message) from error

    def probe(self, component: ComponentSpec, module: nn.Module, *inputs: Any) -> Any:
        """The output of a component's module, in evaluation mode and without gradients."""

        def call() -> Any:
            module.eval()
            with torch.no_grad():
                output = module(*inputs)
            module.train()
            return output

        return self.locate_errors(component, call)

    def task(self, train_size: int) -> Task:
        """The model with its objective and regularizers."""
        model, context_shape, site_dims = self.model()
        wiring = TaskWiring(
            data=self.data,
            latent_dim=self.spec.model.latent_dim,
            context_dim=0 if context_shape is None else math.prod(context_shape),
            train_size=train_size,
            site_dims=site_dims,
        )
        regularizers: dict[str, Regularizer] = {}
        for component in self.spec.regularizers:
            regularizers[unique_name(component.name, regularizers)] = self.build(component, wiring)
        objective = self.build(self.spec.objective)
        if objective.rescales_gradients and regularizers:
            message = (
                f"{self.spec.objective.name!r} rescales the gradients of latents and cannot be "
                "combined with regularizers; write regularizers: []"
            )
            raise self.spec.problem(self.spec.objective.path, message)
        return Task(model, objective, regularizers)

    def model(self) -> tuple[Model, Shape | None, tuple[int, ...]]:
        """The model, the shape of one context, and the scalars in each latent variable."""
        parts, data = self.spec.model, self.data
        conditioner, context = self.conditioner()
        encoder_shape = (math.prod(data.shape),) if parts.encoder.cls.takes_vectors else data.shape
        into_encoder = self.fusion("encoder", encoder_shape, context)
        encoder, feature_shapes = self.encoder(into_encoder)
        into_prior = context is not None and "prior" in self.spec.into
        prior_context = (
            context.flatten(1) if context is not None and into_prior else None
        )  # [2, E]
        latents = self.latents(
            feature_shapes, 0 if prior_context is None else prior_context.shape[1]
        )
        features = self.features(encoder, into_encoder)
        code_shape = self.code_shape(latents, features, prior_context)
        into_decoder = self.fusion("decoder", code_shape, context)
        likelihood = self.build(parts.likelihood, data)
        decoder_shape = code_shape if into_decoder is None else into_decoder.out_shape
        model = Model(
            data=data,
            latent_dim=parts.latent_dim,
            encoder=encoder,
            latents=latents,
            decoder=self.decoder(decoder_shape, likelihood.parameter_shape),
            likelihood=likelihood,
            code_shape=code_shape,
            conditioner=conditioner,
            into_encoder=into_encoder,
            into_decoder=into_decoder,
            into_prior=into_prior,
        )
        context_shape = None if context is None else tuple(context.shape[1:])
        return model, context_shape, self.site_dims(latents, features, prior_context)

    def fusion(self, part: str, shape: Shape, context: Tensor | None) -> ContextFusion | None:
        """Fuses the context with the input of a part; None if the part takes no context."""
        if context is None or part not in self.spec.into:
            return None
        return ContextFusion(shape, tuple(context.shape[1:]), self.spec.fuse)

    def encoder(self, fusion: ContextFusion | None) -> tuple[Any, tuple[Shape, ...]]:
        """The encoder, and the shapes of its features for one example."""
        component = self.spec.model.encoder
        encoder = self.build(component, self.data.shape if fusion is None else fusion.out_shape)
        features = self.probe(component, encoder, *self.dummy_input(fusion))
        self.check_features(features)
        return encoder, tuple(tuple(feature.shape[1:]) for feature in features)

    def features(self, encoder: Any, fusion: ContextFusion | None) -> tuple[Tensor, ...]:
        """The encoder's features of two examples of zeros; with one step if the length varies."""
        component, data = self.spec.model.encoder, self.data
        if not data.variable_length and not self.spec.model.latents.cls.stepwise:
            return self.probe(component, encoder, *self.dummy_input(fusion))
        try:
            return self.probe(component, encoder, *self.dummy_input(fusion, 1))
        except VaezooError as error:
            message = (
                f"encoder {component.name!r} works only with {data.shape[0]} steps, but there can "
                "be fewer; use an encoder for sequences of any length"
            )
            raise self.spec.problem(component.path, message) from error

    def dummy_input(
        self, fusion: ContextFusion | None, steps: int | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Two examples of zeros as encoder input, and a mask of ones if the data have masks."""
        shape, dims = self.data.shape if fusion is None else fusion.out_shape, self.data.mask_dims
        mask_shape = self.data.shape[:dims]
        if steps is not None:
            shape, mask_shape = (steps, *shape[1:]), (steps,)
        mask = torch.ones(2, *mask_shape, dtype=torch.bool) if dims else None
        return torch.zeros(2, *shape), mask if fusion is None else fusion.fused_mask(mask)

    def conditioner(self) -> tuple[Conditioner | None, Tensor | None]:
        """The conditioner, and its contexts for two conditions of zeros."""
        component, shape = self.spec.model.condition, self.data.condition_shape
        if component is None:
            return None, None
        if shape is None:
            raise self.spec.problem(
                component.path, f"data set {self.spec.data.name!r} has no condition"
            )
        conditioner = self.build(component, self.data)
        conditions = torch.zeros(2, *shape, dtype=torch.float32 if shape else torch.int64)
        return conditioner, self.probe(component, conditioner, conditions)

    def check_features(self, features: Any) -> None:
        """Checks that the encoder returned a tuple of batches of two."""
        component = self.spec.model.encoder
        if not (
            isinstance(features, tuple)
            and features
            and all(isinstance(f, Tensor) for f in features)
        ):
            raise self.spec.problem(
                component.path, f"encoder {component.name!r} must return a tuple of tensors"
            )
        for feature in features:
            if feature.dim() < 2 or feature.shape[0] != 2:
                shape = tuple(feature.shape)
                message = f"encoder {component.name!r}: expected features (2, ...), got {shape}"
                raise self.spec.problem(component.path, message)

    def latents(self, feature_shapes: tuple[Shape, ...], context_dim: int) -> Any:
        """The latents, which build as many posteriors and priors as they need."""
        parts = self.spec.model
        if context_dim and not (parts.prior.cls.conditional or parts.latents.cls.conditional):
            message = (
                f"prior {parts.prior.name!r} cannot use a condition; "
                "remove prior from model.condition.into"
            )
            raise self.spec.problem(parts.prior.path, message)

        def build_posterior(*wiring: Any) -> Any:
            return self.build(parts.posterior, *wiring)

        priors: list[Any] = []

        def build_prior(*wiring: Any) -> Any:
            priors.append(self.build(parts.prior, *wiring))
            return priors[-1]

        latents = self.build(
            parts.latents,
            feature_shapes,
            parts.latent_dim,
            build_posterior,
            build_prior,
            context_dim,
        )
        if not priors and parts.prior.name != "standard-normal":
            message = f"latents {parts.latents.name!r} define their own prior; remove model.prior"
            raise self.spec.problem(parts.prior.path, message)
        return latents

    def code_shape(
        self, latents: Any, features: tuple[Tensor, ...], context: Tensor | None
    ) -> Shape:
        """The shape of the decoder's input for one example.

        Stepwise latents generate one step here; the shape has the data's number of steps.
        """
        component = self.spec.model.latents
        if component.cls.stepwise and not self.data.is_sequence:
            message = (
                f"latents {component.name!r} need sequences, "
                f"but examples have shape {self.data.shape}"
            )
            raise self.spec.problem(component.path, message)
        generation = Generation(1, lambda code: features) if component.cls.stepwise else None
        with torch.no_grad():
            code = self.locate_errors(component, lambda: latents.generate(2, context, generation))
        return (
            tuple(code.shape[1:]) if generation is None else (self.data.shape[0], *code.shape[2:])
        )

    def site_dims(
        self, latents: Any, features: tuple[Tensor, ...], context: Tensor | None
    ) -> tuple[int, ...]:
        """The number of scalars in each latent variable; of one step if it is a sequence."""
        component, mask_shape = self.spec.model.latents, self.data.shape[: self.data.mask_dims]
        if component.cls.stepwise:
            mask_shape = (1,)
        mask = torch.ones(2, *mask_shape, dtype=torch.bool) if mask_shape else None
        latents.eval()
        with torch.no_grad():
            sites, _ = self.locate_errors(
                component, lambda: latents.infer(features, context, mask, 1)
            )
        latents.train()
        return tuple(
            site.z.shape[2:].numel() if site.mask is None else site.z.shape[-1] for site in sites
        )

    def decoder(self, in_shape: Shape, out_shape: Shape) -> Any:
        """The decoder, checked to return the parameters that the likelihood needs."""
        component = self.spec.model.decoder
        decoder = self.build(component, in_shape, out_shape)
        actual = tuple(self.probe(component, decoder, torch.zeros(2, *in_shape)).shape)
        if actual != (2, *out_shape):
            likelihood = self.spec.model.likelihood.name
            message = (
                f"likelihood {likelihood!r} expects shape {out_shape}, "
                f"but the decoder returns {actual[1:]}"
            )
            raise self.spec.problem(component.path, message)
        return decoder
