"""Conditioners, which map a label, attributes or an image to a context.

Shapes: B examples, A attributes, E dimensions or channels of the context.
"""

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


class DropoutConditioner(vaezoo.Conditioner):
    """A conditioner that can drop the condition in training, so that the model also works without.

    A condition that is dropped or unknown is replaced by a learned context, as in classifier-free
    guidance (Ho & Salimans 2022).
    """

    def __init__(self, context_shape: tuple[int, ...], dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.null = nn.Parameter(torch.zeros(context_shape)) if dropout else None

    @abstractmethod
    def encode(self, condition: Tensor) -> Tensor:
        """From conditions ``[B, ...]``, all known, to contexts ``[B, *context_shape]``."""

    def is_known(self, condition: Tensor) -> Tensor | None:
        """Which conditions are known, bool ``[B]``; None if all are."""
        return None

    def forward(self, condition: Tensor) -> Tensor:
        """From conditions ``[B, ...]`` to contexts ``[B, *context_shape]``."""
        context = self.encode(condition)
        if self.null is None:
            return context
        use_condition = self.is_known(condition)
        if self.training:
            not_dropped = torch.rand(len(context), device=context.device) >= self.dropout
            use_condition = not_dropped if use_condition is None else use_condition & not_dropped
        if use_condition is None:
            return context
        use_condition = use_condition.reshape(-1, *(1,) * (context.dim() - 1))  # [B, 1, ...]
        return torch.where(use_condition, context, self.null.to(context.dtype))

    def unconditional_context(self, n: int) -> Tensor:
        """The learned context without a condition, ``[n, *context_shape]``.

        Raises:
            ValueError: the model was trained without dropout of the condition.
        """
        if self.null is None:
            return super().unconditional_context(n)
        return self.null.expand(n, *self.null.shape)  # [n, *context_shape]


class Label(DropoutConditioner):
    """A class, one-hot or as a learned embedding. With dropout, labels below 0 are unknown.

    Args:
        embedding: the width of the embedding; 0 for one-hot.
        dropout: the share of training examples whose label is dropped.
    """

    def __init__(
        self,
        wiring: vaezoo.Wiring,
        /,
        *,
        embedding: Annotated[int, Ge(0)] = 0,
        dropout: Dropout = 0.0,
    ) -> None:
        data = wiring.data
        if not data.classes:
            raise ValueError("needs data whose condition is a label; use attributes or image")
        super().__init__((embedding or len(data.classes),), dropout)
        self.classes = len(data.classes)
        self.table = nn.Embedding(self.classes, embedding) if embedding else None

    def encode(self, condition: Tensor) -> Tensor:
        """From labels ``[B]`` to ``[B, classes]`` or ``[B, embedding]``."""
        label = condition.long().clamp(min=0) if self.dropout else condition.long()
        return F.one_hot(label, self.classes).float() if self.table is None else self.table(label)

    def is_known(self, condition: Tensor) -> Tensor | None:
        """Labels of at least 0 are known."""
        return condition >= 0


class Attributes(DropoutConditioner):
    """A vector of attributes: categorical ones as one-hot, numbers and multi-hot ones unchanged.

    Args:
        hidden: the widths of the layers after that vector; an empty list for none.
        dropout: the share of training examples whose attributes are dropped.
    """

    def __init__(
        self, wiring: vaezoo.Wiring, /, *, hidden: Sequence[Width] = (), dropout: Dropout = 0.0
    ) -> None:
        data = wiring.data
        shape = data.condition_shape
        if shape is None or len(shape) != 1:
            raise ValueError(
                f"needs data whose condition is a vector, but it is {shape}; use label or image"
            )
        # The number of categories of each column; 0 for a number, or a column of a one-hot field.
        categories = [0] * shape[0]
        for field in data.condition_fields:
            if not field.is_one_hot:
                categories[field.columns[0]] = len(field.categories)
        width = sum(count or 1 for count in categories)
        super().__init__((hidden[-1] if hidden else width,), dropout)
        self.categories = categories
        self.net = mlp(width, hidden)

    def encode(self, condition: Tensor) -> Tensor:
        """From ``[B, A]`` to ``[B, E]``."""
        columns = [
            F.one_hot(column.long(), count).float() if count else column[:, None].float()
            for count, column in zip(self.categories, condition.unbind(1), strict=True)
        ]
        return self.net(torch.cat(columns, 1))


class Image(DropoutConditioner):
    """An image: strided convolutions to a feature map, optionally dense layers to a vector.

    Args:
        channels: the channels of each convolution, which halves the image; an empty list for none.
        hidden: the widths of the dense layers after that; an empty list for a feature map.
        activation: the activation after each layer.
        dropout: the share of training examples whose image is dropped.
    """

    def __init__(
        self,
        wiring: vaezoo.Wiring,
        /,
        *,
        channels: Sequence[Width] = (32, 64),
        hidden: Sequence[Width] = (),
        activation: Activation = "relu",
        dropout: Dropout = 0.0,
    ) -> None:
        shape = wiring.data.condition_shape
        if shape is None or len(shape) != 3:
            alternatives = "use label or attributes"
            raise ValueError(
                f"needs data whose condition is an image, but it is {shape}; {alternatives}"
            )
        stride = 2 ** len(channels)
        if min(shape[1:]) < stride:
            size = f"{shape[1]}x{shape[2]}"
            raise ValueError(f"an image of {size} is too small for {len(channels)} layers")
        layers: list[nn.Module] = []
        in_channels = shape[0]
        for out_channels in channels:
            convolution = nn.Conv2d(in_channels, out_channels, 4, stride=2, padding=1)
            layers += [convolution, activation_layer(activation)]
            in_channels = out_channels
        map_shape = (in_channels, shape[1] // stride, shape[2] // stride) if channels else shape
        super().__init__((hidden[-1],) if hidden else map_shape, dropout)
        self.inpainting = wiring.data.facts.get("vaezoo-cvae", {}).get("inpainting", False)
        if hidden:
            layers += [nn.Flatten(), mlp(math.prod(map_shape), hidden, activation_name=activation)]
        self.net = nn.Sequential(*layers)

    def encode(self, condition: Tensor) -> Tensor:
        """From ``[B, C, H, W]`` to a feature map ``[B, E, H', W']`` or a vector ``[B, E]``."""
        return self.net(condition.float())

    def complete(self, x: Tensor, condition: Tensor) -> Tensor:
        """For inpainting: ``x`` with the observed pixels set to their values in the condition.

        The last channel of the condition is 1 where a pixel is observed.
        """
        if not self.inpainting:
            return x
        observed = condition.to(x)
        return torch.where(observed[:, -1:] > 0, observed[:, :-1], x)
