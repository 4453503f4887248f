"""From a spec to a task: the only code that wires components together.

Shapes flow with the data. Each part is built once its inputs are known and shown an empty example, so that no
component has to predict its own output, and a mismatch is found before anything is trained.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from vaezoo.data.dataspec import DataSpec, Shape
from vaezoo.model.fusion import Fusion
from vaezoo.model.generation import Generation
from vaezoo.model.model import Model
from vaezoo.model.objectives import Regularizer
from vaezoo.model.parts import Conditioner
from vaezoo.model.task import Task, unique_name
from vaezoo.model.wiring import TaskWiring
from vaezoo.spec.options import ComponentSpec
from vaezoo.spec.spec import Spec
from vaezoo.utils.errors import VaezooError
from vaezoo.utils.seeds import seeded

T = TypeVar("T")


def compose(spec: Spec, data: DataSpec, train_size: int) -> Task:
    """Assembles the task of a spec, with weights drawn from its seed.

    Args:
        spec: what to build.
        data: one example of the data set.
        train_size: the number of training examples.

    Raises:
        SpecError: parts do not fit together; says what was expected and what was given.
    """
    with seeded(torch.device("cpu"), spec.seed, "weights"):
        return _Composer(spec, data).task(train_size)


class _Composer:
    def __init__(self, spec: Spec, data: DataSpec) -> None:
        self.spec, self.data = spec, data

    def build(self, bound: ComponentSpec, *wiring: Any) -> Any:
        """Constructs a component; what its constructor refuses is an error at its place in the spec."""
        return self.locate_errors(bound, lambda: bound.build(*wiring))

    def locate_errors(self, bound: ComponentSpec, action: Callable[[], T]) -> T:
        try:
            return action()
        except VaezooError:
            raise
        except (ValueError, TypeError, RuntimeError, NotImplementedError) as error:
            reason = " ".join(str(error).split())
            raise self.spec.problem(bound.path, f"{bound.kind} {bound.name!r}: {reason}") from error

    def probe(self, bound: ComponentSpec, module: nn.Module, *inputs: Any) -> Any:
        """What a component makes of an empty input."""

        def call() -> Any:
            module.eval()
            with torch.no_grad():
                output = module(*inputs)
            module.train()
            return output

        return self.locate_errors(bound, call)

    def task(self, train_size: int) -> Task:
        model, context_shape, site_dims = self.model()
        context_dim = 0 if context_shape is None else math.prod(context_shape)
        wiring = TaskWiring(self.data, self.spec.model.latent_dim, context_dim, train_size, site_dims)
        regularizers: dict[str, Regularizer] = {}
        for bound in self.spec.regularizers:
            regularizers[unique_name(bound.name, regularizers)] = self.build(bound, wiring)
        objective = self.build(self.spec.objective)
        if objective.rescales_gradients and regularizers:
            reason = (
                f"{self.spec.objective.name!r} rescales the gradients of latents, so no regularizer can stand beside it"
            )
            raise self.spec.problem(self.spec.objective.path, reason)
        return Task(model, objective, regularizers)

    def model(self) -> tuple[Model, Shape | None, tuple[int, ...]]:
        """The model, the shape of one context, and how many numbers each latent variable has."""
        parts, data = self.spec.model, self.data
        conditioner, context = self.conditioner()
        flat = parts.encoder.cls.takes_vectors
        into_encoder = self.fusion("encoder", (math.prod(data.shape),) if flat else data.shape, context)
        encoder, shapes = self.encoder(into_encoder)
        seen = context.flatten(1) if context is not None and "prior" in self.spec.into else None
        latents = self.latents(shapes, 0 if seen is None else seen.shape[1])
        features = self.features(encoder, into_encoder)
        code_shape = self.code_shape(latents, features, seen)
        into_decoder = self.fusion("decoder", code_shape, context)
        likelihood = self.build(parts.likelihood, data)
        joined = code_shape if into_decoder is None else into_decoder.out_shape
        model = Model(
            data,
            parts.latent_dim,
            encoder,
            latents,
            self.decoder(joined, likelihood.parameter_shape),
            likelihood,
            code_shape,
            conditioner,
            into_encoder,
            into_decoder,
            seen is not None,
        )
        return model, None if context is None else tuple(context.shape[1:]), self.site_dims(latents, features, seen)

    def fusion(self, part: str, shape: Shape, context: Tensor | None) -> Fusion | None:
        """How the context joins the input of a part; None where it does not."""
        if context is None or part not in self.spec.into:
            return None
        return Fusion(shape, tuple(context.shape[1:]), self.spec.fuse)

    def encoder(self, fusion: Fusion | None) -> tuple[Any, tuple[Shape, ...]]:
        """The encoder, and the shapes of its features for one example."""
        bound = self.spec.model.encoder
        seen = self.data.shape if fusion is None else fusion.out_shape
        encoder = self.build(bound, seen)
        features = self.probe(bound, encoder, *self.dummy_input(fusion))
        self.check_features(features)
        return encoder, tuple(tuple(feature.shape[1:]) for feature in features)

    def features(self, encoder: Any, fusion: Fusion | None) -> tuple[Tensor, ...]:
        """What the encoder makes of two empty examples, which have one step where they are sequences of any length."""
        bound, data = self.spec.model.encoder, self.data
        if not data.variable_length and not self.spec.model.latents.cls.stepwise:
            return self.probe(bound, encoder, *self.dummy_input(fusion))
        try:
            return self.probe(bound, encoder, *self.dummy_input(fusion, 1))
        except VaezooError as error:
            reason = f"encoder {bound.name!r} wants {data.shape[0]} steps, but there may be fewer"
            raise self.spec.problem(bound.path, reason) from error

    def dummy_input(self, fusion: Fusion | None, steps: int | None = None) -> tuple[Tensor, Tensor | None]:
        """What the encoder is given of two examples of zeros, and their mask where the data has masks: all is seen."""
        shape, dims = self.data.shape if fusion is None else fusion.out_shape, self.data.mask_dims
        covered = self.data.shape[:dims]
        if steps is not None:
            shape, covered = (steps, *shape[1:]), (steps,)
        mask = torch.ones(2, *covered, dtype=torch.bool) if dims else None
        return torch.zeros(2, *shape), mask if fusion is None else fusion.visible(mask)

    def conditioner(self) -> tuple[Conditioner | None, Tensor | None]:
        bound, shape = self.spec.model.condition, self.data.condition_shape
        if bound is None:
            return None, None
        if shape is None:
            raise self.spec.problem(bound.path, f"data set {self.spec.data.name!r} has no condition")
        conditioner = self.build(bound, self.data)
        dummy_input = torch.zeros(2, *shape, dtype=torch.float32 if shape else torch.int64)
        return conditioner, self.probe(bound, conditioner, dummy_input)

    def check_features(self, features: Any) -> None:
        bound = self.spec.model.encoder
        if not (isinstance(features, tuple) and features and all(isinstance(f, Tensor) for f in features)):
            raise self.spec.problem(bound.path, f"encoder {bound.name!r} must return a tuple of tensors")
        for feature in features:
            if feature.dim() < 2 or feature.shape[0] != 2:
                given = tuple(feature.shape)
                raise self.spec.problem(bound.path, f"encoder {bound.name!r}: expected features (2, ...), got {given}")

    def latents(self, shapes: tuple[Shape, ...], context_dim: int) -> Any:
        parts = self.spec.model
        if context_dim and not (parts.prior.cls.conditional or parts.latents.cls.conditional):
            reason = f"prior {parts.prior.name!r} cannot use a condition; remove prior from into"
            raise self.spec.problem(parts.prior.path, reason)

        def posterior(*wiring: Any) -> Any:
            return self.build(parts.posterior, *wiring)

        built: list[Any] = []

        def prior(*wiring: Any) -> Any:
            built.append(self.build(parts.prior, *wiring))
            return built[-1]

        latents = self.build(parts.latents, shapes, parts.latent_dim, posterior, prior, context_dim)
        if not built and parts.prior.name != "standard-normal":
            reason = f"latents {parts.latents.name!r} ask for no prior here; remove it"
            raise self.spec.problem(parts.prior.path, reason)
        return latents

    def code_shape(self, latents: Any, features: tuple[Tensor, ...], context: Tensor | None) -> Shape:
        """The shape of one code, with as many steps as the data may have where it is made step by step."""
        bound = self.spec.model.latents
        if bound.cls.stepwise and not self.data.is_sequence:
            raise self.spec.problem(bound.path, f"latents {bound.name!r} want sequences, not {self.data.shape}")
        generation = Generation(1, lambda code: features) if bound.cls.stepwise else None
        with torch.no_grad():
            code = self.locate_errors(bound, lambda: latents.generate(2, context, generation))
        return tuple(code.shape[1:]) if generation is None else (self.data.shape[0], *code.shape[2:])

    def site_dims(self, latents: Any, features: tuple[Tensor, ...], context: Tensor | None) -> tuple[int, ...]:
        """How many numbers each latent variable has, at one step where it has steps."""
        bound, covered = self.spec.model.latents, self.data.shape[: self.data.mask_dims]
        if bound.cls.stepwise:
            covered = (1,)
        mask = torch.ones(2, *covered, dtype=torch.bool) if covered else None
        latents.eval()
        with torch.no_grad():
            sites, _ = self.locate_errors(bound, lambda: latents.infer(features, context, mask, 1))
        latents.train()
        return tuple(site.z.shape[2:].numel() if site.mask is None else site.z.shape[-1] for site in sites)

    def decoder(self, in_shape: Shape, out_shape: Shape) -> Any:
        bound = self.spec.model.decoder
        decoder = self.build(bound, in_shape, out_shape)
        given = tuple(self.probe(bound, decoder, torch.zeros(2, *in_shape)).shape)
        if given != (2, *out_shape):
            reason = f"likelihood {self.spec.model.likelihood.name!r} expects {out_shape}, decoder gives {given[1:]}"
            raise self.spec.problem(bound.path, reason)
        return decoder
