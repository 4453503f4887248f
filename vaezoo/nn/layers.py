"""Layers shared by components and plugins.

Shapes: N images of C channels, H rows and W columns; ``*`` is any number of leading dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

Activation: TypeAlias = Literal["relu", "leaky-relu", "elu", "gelu", "silu", "tanh", "softplus"]
Norm: TypeAlias = Literal["none", "batch", "layer"]
_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky-relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "softplus": nn.Softplus,
}


def activation_layer(name: Activation) -> nn.Module:
    """Builds the activation layer of a name."""
    return _ACTIVATIONS[name]()


def dense(in_features: int, out_features: int, name: Activation) -> nn.Sequential:
    """Builds a linear layer followed by an activation."""
    return nn.Sequential(nn.Linear(in_features, out_features), activation_layer(name))


class GatedLinear(nn.Module):
    """A gated linear unit: a linear layer times the sigmoid of another (Dauphin et al. 2017).

    Both layers are computed in one matrix product.
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, 2 * out_features)

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``[*, in_features]`` to ``[*, out_features]``."""
        return nn.functional.glu(self.linear(x), -1)


def mlp(
    in_features: int,
    hidden: Sequence[int],
    *,
    activation_name: Activation = "relu",
    gated: bool = False,
    norm: Norm = "none",
    dropout: float = 0.0,
) -> nn.Sequential:
    """Builds the hidden layers of a multilayer perceptron.

    Args:
        in_features: the size of the input.
        hidden: the width of each layer.
        activation_name: the activation of each layer; not used if ``gated``.
        gated: whether layers are gated linear units.
        norm: the normalisation between each linear layer and its activation.
        dropout: the probability of dropping a unit, after each layer.
    """
    layers: list[nn.Module] = []
    for width in hidden:
        layers.append(GatedLinear(in_features, width) if gated else nn.Linear(in_features, width))
        if norm != "none":
            layers.append(nn.BatchNorm1d(width) if norm == "batch" else nn.LayerNorm(width))
        if not gated:
            layers.append(activation_layer(activation_name))
        if dropout:
            layers.append(nn.Dropout(dropout))
        in_features = width
    return nn.Sequential(*layers)


class ResidualBlock(nn.Module):
    """A pre-activation residual block of two 3x3 convolutions (He et al. 2016).

    Units are dropped between the convolutions (Zagoruyko and Komodakis 2016).
    """

    def __init__(
        self, channels: int, *, activation_name: Activation, norm: Norm, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.body = nn.Sequential(
            norm2d(channels, norm),
            activation_layer(activation_name),
            nn.Conv2d(channels, channels, 3, padding=1),
            norm2d(channels, norm),
            activation_layer(activation_name),
            *([nn.Dropout(dropout)] if dropout else []),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``[N, C, H, W]`` to the same shape."""
        return x + self.body(x)


def norm2d(channels: int, norm: Norm) -> nn.Module:
    """Builds a norm for feature maps; ``layer`` normalises over channels and space together."""
    if norm == "none":
        return nn.Identity()
    return nn.BatchNorm2d(channels) if norm == "batch" else nn.GroupNorm(1, channels)


def masked(x: Tensor, mask: Tensor | None) -> Tensor:
    """Returns ``x`` with 0 wherever the mask is False.

    Args:
        x: a tensor.
        mask: covers the leading dimensions of ``x``; None returns ``x`` unchanged.
    """
    if mask is None:
        return x
    mask = mask.reshape(*mask.shape, *(1,) * (x.dim() - mask.dim()))  # [*mask.shape, 1, ...]
    return torch.where(mask, x, torch.zeros((), dtype=x.dtype, device=x.device))
