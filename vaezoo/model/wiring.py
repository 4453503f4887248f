"""What the composer passes to constructors: one wiring object for each kind of component.

A wiring object is the only positional-only parameter of a component's constructor. It holds what
the component must know of the data and of the parts around it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Protocol, TypeVar

from vaezoo.data.dataspec import DataSpec, Shape

SUPPORTS = ("real", "sphere", "simplex", "one-hot", "symbols")
"""The supports of latent variables that vaezoo names; plugins write ``<plugin>:<word>``."""


@dataclass(frozen=True)
class Space:
    """The values of one latent variable; of one step of it, where a mask covers its steps.

    Attributes:
        shape: the shape of one value, such as ``(D,)``, ``(D, H, W)`` or ``(H, W)``.
        support: the set that the values lie in: ``real``, any numbers; ``sphere``, vectors of
            norm 1; ``simplex``, probabilities along the last dimension; ``one-hot``, a single 1
            along it; ``symbols``, integers from 0; or a plugin's own, ``<plugin>:<word>``.
        size: the number of symbols; 0 for other supports.
        name: the name of the latent variable, unique in its model; ``Site.name`` is the same.
    """

    shape: Shape
    support: str = "real"
    _: KW_ONLY
    size: int = 0
    name: str = "z"

    @property
    def dimensions(self) -> int:
        """The number of scalars in one value."""
        return math.prod(self.shape)


@dataclass(frozen=True, kw_only=True)
class Wiring:
    """What every component may know. The wiring of likelihoods and conditioners.

    Attributes:
        data: describes one example.
        train_size: the number of training examples.
        context_shape: the shape of one context, if this part is passed contexts; else None.
        into: the parts that are passed contexts, of ``encoder``, ``prior`` and ``decoder``; empty
            in an unconditional model.
    """

    data: DataSpec
    train_size: int
    context_shape: Shape | None = None
    into: frozenset[str] = frozenset()

    @property
    def context_dim(self) -> int:
        """The number of scalars in one context; 0 without contexts."""
        return 0 if self.context_shape is None else math.prod(self.context_shape)


@dataclass(frozen=True, kw_only=True)
class EncoderWiring(Wiring):
    """The wiring of an encoder.

    Attributes:
        in_shape: the shape of one input, with the context if that is fused with the data.
    """

    in_shape: Shape


@dataclass(frozen=True, kw_only=True)
class DecoderWiring(Wiring):
    """The wiring of a decoder.

    Attributes:
        in_shape: the shape of one code, with the context if that is fused with it.
        out_shape: the ``parameter_shape`` of the likelihood.
        part_shapes: for data of several parts, that of the likelihood of each part.
    """

    in_shape: Shape
    out_shape: Shape
    part_shapes: Mapping[str, Shape] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class PosteriorWiring(Wiring):
    """The wiring of a posterior.

    Attributes:
        in_shape: the shape of the features of one example.
        space: the latent variable.
    """

    in_shape: Shape
    space: Space


@dataclass(frozen=True, kw_only=True)
class PriorWiring(Wiring):
    """The wiring of a prior. Its ``context_shape`` is ``(E,)``: contexts of priors are flattened.

    Attributes:
        space: the latent variable.
    """

    space: Space


@dataclass(frozen=True, kw_only=True)
class TaskWiring(Wiring):
    """The wiring of an objective or a regularizer.

    Attributes:
        spaces: the latent variables, in the order of generation.
    """

    spaces: tuple[Space, ...]


C_co = TypeVar("C_co", covariant=True)


class Factory(Protocol[C_co]):
    """Builds a nested component. The annotation of an option that is itself a component.

    An option annotated ``Factory[vaezoo.Encoder]`` takes an encoder's block in a spec;
    ``list[Factory[...]]`` takes several, and ``dict[str, Factory[...]]`` several by name. Kinds
    without wiring, such as ``vaezoo.Schedule``, are annotated by their class and arrive built.
    """

    def __call__(self, wiring: Wiring, /) -> C_co:
        """Builds the component with the wiring of its kind."""
