"""Encoder, decoder and likelihood of data of several parts (modalities), from those of each part.

Shapes: B examples, N codes, ``*`` the leading dimensions ``[K, B]`` or ``[B]``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from vaezoo.data.batch import hide_missing
from vaezoo.data.dataspec import DataSpec, Shape
from vaezoo.distributions import Joint
from vaezoo.model.parts import Decoder, Encoder, Likelihood
from vaezoo.model.trace import Trace
from vaezoo.model.wiring import DecoderWiring, EncoderWiring, Factory, Wiring
from vaezoo.nn import masked


class JointEncoder(Encoder):
    """An encoder for each part.

    It returns the last features of each part, in the order of the data, and then one vector of all
    of them. Latents with a posterior for each part use the former; others, the last vector.

    Args:
        parts: the encoder of each part, by name.
    """

    takes_parts = True

    def __init__(self, wiring: EncoderWiring, /, *, parts: dict[str, Factory[Encoder]]) -> None:
        super().__init__()
        self.parts = build_parts(
            wiring.data, parts, lambda part, name: replace(wiring, data=part, in_shape=part.shape)
        )

    def forward(
        self, x: Mapping[str, Tensor], mask: Mapping[str, Tensor] | None = None
    ) -> tuple[Tensor, ...]:
        """From the data of each part to features ``[B, ...]`` of each, and all in ``[B, F]``."""
        masks = mask or {}
        features = [part(x[name], masks.get(name))[-1] for name, part in self.parts.items()]
        return (*features, torch.cat([feature.flatten(1) for feature in features], 1))


class JointDecoder(Decoder):
    """A decoder for each part, from the same code.

    Args:
        parts: the decoder of each part, by name.
    """

    def __init__(self, wiring: DecoderWiring, /, *, parts: dict[str, Factory[Decoder]]) -> None:
        super().__init__()
        shapes = wiring.part_shapes
        self.parts = build_parts(
            wiring.data,
            parts,
            lambda part, name: replace(wiring, data=part, out_shape=shapes[name]),
        )

    def forward(self, code: Tensor) -> Tensor:
        """The parameters of all parts in one vector, ``[N, P]``."""
        return torch.cat([part(code).flatten(1) for part in self.parts.values()], 1)


class JointLikelihood(Likelihood):
    """A likelihood for each part; parts are independent of each other, given the code.

    Of each example it counts the parts that are present.

    Args:
        parts: the likelihood of each part, by name.
    """

    supports = frozenset({"joint"})

    def __init__(self, wiring: Wiring, /, *, parts: dict[str, Factory[Likelihood]]) -> None:
        super().__init__(wiring)
        extras = self.data.extras
        self.parts = build_parts(
            self.data,
            parts,
            lambda part, name: replace(wiring, data=replace(part, extras=extras)),
        )
        for name, part in self.by_part.items():
            if part.pools_examples:
                raise ValueError(
                    f"the likelihood of part {name!r} needs all examples of a batch, but parts "
                    "may be missing; for normal use scale: learned"
                )
        self.part_shapes = {name: part.parameter_shape for name, part in self.by_part.items()}

    @property
    def by_part(self) -> Mapping[str, Likelihood]:
        """The likelihood of each part."""
        parts: Any = self.parts  # a ModuleDict, whose values are modules to mypy
        return dict(parts.items())

    @property
    def parameter_shape(self) -> Shape:
        """``(P,)``: the parameters of all parts in one vector."""
        return (sum(math.prod(shape) for shape in self.part_shapes.values()),)

    def forward(self, h: Tensor, extras: Mapping[str, Tensor]) -> Joint:
        """From ``[*, P]`` to a distribution over the data of each part."""
        sizes = [math.prod(shape) for shape in self.part_shapes.values()]
        blocks = zip(self.by_part.items(), h.split(sizes, -1), strict=True)
        return Joint(
            {
                # [*, parameters of the part] -> [*, *parameter_shape]
                name: part(block.unflatten(-1, part.parameter_shape), extras)
                for (name, part), block in blocks
            }
        )

    def typical_extras(self, n: int) -> Mapping[str, Tensor]:
        """Those of all parts."""
        return {
            name: value
            for part in self.by_part.values()
            for name, value in part.typical_extras(n).items()
        }

    def log_prob(self, trace: Trace) -> Tensor:
        """The sum of log p(x|z) over the parts that an example has, in nats, ``[K, B]``."""
        return torch.stack([*self.log_prob_of_parts(trace).values()]).sum(0)

    def log_prob_of_parts(self, trace: Trace) -> dict[str, Tensor]:
        """log p(x|z) of each part in nats, ``[K, B]``; 0 where an example lacks it."""
        assert isinstance(trace.px, Joint), "asked for only where the decoder ran"
        # NaN in what is missing would reach the gradients although it is not counted
        batch, log_probs = replace(trace.batch, x=hide_missing(trace.batch)), {}
        for name, part in self.by_part.items():
            px = trace.px.parts[name]
            log_prob = part.log_prob(replace(trace, px=px, batch=batch.part(name)))
            present = batch.has(name)
            log_probs[name] = log_prob if present is None else masked(log_prob, present[None])
        return log_probs


def build_parts(
    data: DataSpec,
    factories: Mapping[str, Factory[Any]],
    wiring_of: Callable[[DataSpec, str], Wiring],
) -> nn.ModuleDict:
    """The components of the parts, in the order of the data.

    Args:
        data: describes the examples.
        factories: the component of each part, by name.
        wiring_of: the wiring for a part, given its description and its name.

    Raises:
        ValueError: the names are not those of the parts of the data.
    """
    if not data.parts:
        raise ValueError(f"needs data of several parts, but examples have shape {data.shape}")
    if factories.keys() != data.parts.keys():
        raise ValueError(
            f"names the parts {', '.join(factories)}, but those of the data are "
            f"{', '.join(data.parts)}"
        )
    return nn.ModuleDict(
        {name: factories[name](wiring_of(part, name)) for name, part in data.parts.items()}
    )
