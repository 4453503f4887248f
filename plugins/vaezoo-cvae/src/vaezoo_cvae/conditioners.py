"""Conditioners: a label, attributes or an image to a context."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Annotated, TypeAlias

import torch
import torch.nn.functional as F
from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn

import vaezoo
from vaezoo.nn import Activation, activation_layer, mlp

Dropout: TypeAlias = Annotated[float, Ge(0), Lt(1)]
Width: TypeAlias = Annotated[int, Gt(0)]


class Droppable(vaezoo.Conditioner):
    """A conditioner that may leave the condition out while training, so that one model also serves without it.

    In place of a condition that is left out, or absent, stands a learned context (as in classifier-free guidance,
    Ho & Salimans 2022).
    """

    def __init__(self, context_shape: tuple[int, ...], dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.null = nn.Parameter(torch.zeros(context_shape)) if dropout else None

    @abstractmethod
    def encode(self, condition: Tensor) -> Tensor:
        """From conditions ``[B, ...]``, each of them known, to contexts ``[B, *context_shape]``."""

    def known(self, condition: Tensor) -> Tensor | None:
        """Which conditions are known, ``[B]``; None where all must be."""
        return None

    def forward(self, condition: Tensor) -> Tensor:
        """From conditions ``[B, ...]`` to contexts ``[B, *context_shape]``."""
        context = self.encode(condition)
        if self.null is None:
            return context
        kept = self.known(condition)
        if self.training:
            drawn = torch.rand(len(context), device=context.device) >= self.dropout
            kept = drawn if kept is None else kept & drawn
        if kept is None:
            return context
        return torch.where(kept.reshape(-1, *(1,) * (context.dim() - 1)), context, self.null.to(context.dtype))

    def unconditional_context(self, n: int) -> Tensor:
        """The learned context of no condition, n times.

        Raises:
            ValueError: the model was trained without dropout of the condition.
        """
        return super().unconditional_context(n) if self.null is None else self.null.expand(n, *self.null.shape)


class Label(Droppable):
    """A class: one-hot, or a learned embedding. With dropout, labels below 0 count as absent.

    Args:
        embedding: the width of the embedding; 0 for one-hot.
        dropout: the share of training examples whose label is left out.
    """

    def __init__(
        self, data: vaezoo.DataSpec, /, *, embedding: Annotated[int, Ge(0)] = 0, dropout: Dropout = 0.0
    ) -> None:
        if not data.classes:
            raise ValueError("needs data whose condition is a label; use attributes or image")
        super().__init__((embedding or len(data.classes),), dropout)
        self.classes = len(data.classes)
        self.table = nn.Embedding(self.classes, embedding) if embedding else None

    def encode(self, condition: Tensor) -> Tensor:
        """From labels ``[B]`` to ``[B, classes]`` or ``[B, embedding]``."""
        label = condition.long().clamp(min=0) if self.dropout else condition.long()
        return F.one_hot(label, self.classes).float() if self.table is None else self.table(label)

    def known(self, condition: Tensor) -> Tensor | None:
        """A label below 0 stands for none."""
        return condition >= 0


class Attributes(Droppable):
    """A vector of attributes: categorical ones as one-hot, numbers and multi-hot vectors as they are.

    Args:
        hidden: the widths of layers that follow; none passes the vector on.
        dropout: the share of training examples whose attributes are left out.
    """

    def __init__(self, data: vaezoo.DataSpec, /, *, hidden: Sequence[Width] = (), dropout: Dropout = 0.0) -> None:
        shape = data.condition_shape
        if shape is None or len(shape) != 1:
            raise ValueError(f"needs data whose condition is a vector, but it is {shape}; use label or image")
        values = [len(attribute.categories) for attribute in data.condition_fields] or [0] * shape[0]
        width = sum(count or 1 for count in values)
        super().__init__((hidden[-1] if hidden else width,), dropout)
        self.values = values
        self.net = mlp(width, hidden)

    def encode(self, condition: Tensor) -> Tensor:
        """From ``[B, A]`` to the vector ``[B, E]``."""
        columns = [
            F.one_hot(column.long(), count).float() if count else column[:, None].float()
            for count, column in zip(self.values, condition.unbind(1), strict=True)
        ]
        return self.net(torch.cat(columns, 1))


class Image(Droppable):
    """An image: strided convolutions to a feature map, or on through dense layers to a vector.

    Args:
        channels: the feature maps of each convolution, which halves the image; none leaves the image as it is.
        hidden: the widths of dense layers that follow; none gives a feature map.
        activation: what follows each layer.
        dropout: the share of training examples whose image is left out.
    """

    def __init__(
        self,
        data: vaezoo.DataSpec,
        /,
        *,
        channels: Sequence[Width] = (32, 64),
        hidden: Sequence[Width] = (),
        activation: Activation = "relu",
        dropout: Dropout = 0.0,
    ) -> None:
        shape = data.condition_shape
        if shape is None or len(shape) != 3:
            raise ValueError(f"needs data whose condition is an image, but it is {shape}; use label or attributes")
        halvings = 2 ** len(channels)
        if min(shape[1:]) < halvings:
            raise ValueError(f"an image of {shape[1]}x{shape[2]} is too small for {len(channels)} layers")
        layers: list[nn.Module] = []
        width = shape[0]
        for out in channels:
            layers += [nn.Conv2d(width, out, 4, stride=2, padding=1), activation_layer(activation)]
            width = out
        size = (width, shape[1] // halvings, shape[2] // halvings) if channels else shape
        super().__init__((hidden[-1],) if hidden else size, dropout)
        if hidden:
            layers += [nn.Flatten(), mlp(math.prod(size), hidden, activation_name=activation)]
        self.net = nn.Sequential(*layers)

    def encode(self, condition: Tensor) -> Tensor:
        """From ``[B, C, H, W]`` to a map ``[B, E, H', W']`` or a vector ``[B, E]``."""
        return self.net(condition.float())
