"""Building blocks shared by components and plugins."""

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
    """The activation of that name."""
    return _ACTIVATIONS[name]()


def dense(in_features: int, out_features: int, name: Activation) -> nn.Sequential:
    """A linear layer and its activation."""
    return nn.Sequential(nn.Linear(in_features, out_features), activation_layer(name))


class GatedLinear(nn.Module):
    """A linear layer times the sigmoid of another (Dauphin et al. 2017), as one product of matrices."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, 2 * out_features)

    def forward(self, x: Tensor) -> Tensor:
        """From ``[*, in_features]`` to ``[*, out_features]``."""
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
    """Hidden layers, each followed by its norm, activation (a gated layer needs none) and dropout."""
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
    """Two 3x3 convolutions beside an identity, pre-activated (He et al. 2016)."""

    def __init__(self, channels: int, *, activation_name: Activation, norm: Norm) -> None:
        super().__init__()
        self.body = nn.Sequential(
            norm2d(channels, norm),
            activation_layer(activation_name),
            nn.Conv2d(channels, channels, 3, padding=1),
            norm2d(channels, norm),
            activation_layer(activation_name),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """From ``[N, C, H, W]`` to the same shape."""
        return x + self.body(x)


def norm2d(channels: int, norm: Norm) -> nn.Module:
    """A norm over feature maps; ``layer`` normalises over channels and space together."""
    if norm == "none":
        return nn.Identity()
    return nn.BatchNorm2d(channels) if norm == "batch" else nn.GroupNorm(1, channels)


def masked(x: Tensor, mask: Tensor | None) -> Tensor:
    """``x`` with what the mask hides set to 0. The mask covers the leading dimensions of ``x``."""
    if mask is None:
        return x
    mask = mask.reshape(*mask.shape, *(1,) * (x.dim() - mask.dim()))
    return torch.where(mask, x, torch.zeros((), dtype=x.dtype, device=x.device))
