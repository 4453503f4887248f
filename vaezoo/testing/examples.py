"""Made-up examples on which components are tested, and the tiny model around a component.

The numbers of examples, samples, dimensions and latent dimensions are all different, and none is
1: a component that confuses two of them does not get by.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vaezoo.data.batch import Batch
from vaezoo.testing.steps import NAME

COUNT, BATCH, SAMPLES, LATENT_DIM = 60, 5, 2, 3
"""Made-up examples, examples in a batch, samples K of the posterior, and latent dimensions."""
_CLASSES = 3


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(22)


def _labels() -> Tensor:
    return torch.arange(COUNT) % _CLASSES


def _unit(*shape: int) -> Tensor:
    return torch.rand(COUNT, *shape, generator=_generator())


def _binary(*shape: int) -> Tensor:
    return (_unit(*shape) > 0.5).float()


def _real(*shape: int) -> Tensor:
    return torch.randn(COUNT, *shape, generator=_generator())


def _symbols() -> Tensor:
    """One-hot rows ``[n, 2, 4]``."""
    codes = torch.randint(0, 4, (COUNT, 2), generator=_generator())
    return F.one_hot(codes, 4).float()


def lengths(steps: int) -> Tensor:
    """A mask over the steps of sequences, ``[n, T]``: none is empty, some are whole."""
    length = 2 + torch.arange(COUNT) % (steps - 1)
    return torch.arange(steps) < length[:, None]


def _cells() -> Tensor:
    """A mask over the columns of vectors, ``[n, 4]``: the first is always there."""
    mask = _unit(4) > 0.4
    mask[:, 0] = True
    return mask


def _holes() -> Tensor:
    """A mask over the pixels of images, ``[n, 2, 8, 4]``."""
    return _unit(2, 8, 4) > 0.3


def _parts() -> Batch:
    first, second = _binary(4), _real(3)
    has_second = torch.arange(COUNT) % 4 != 1
    return Batch({"left": first, "right": second}, _labels(), present={"right": has_second})


EXAMPLES: Mapping[str, Callable[[], Batch]] = {
    "binary": lambda: Batch(_binary(4), _labels()),
    "unit": lambda: Batch(_unit(4), _labels()),
    "real": lambda: Batch(_real(4), _labels()),
    "counts": lambda: Batch((_unit(4) * 6).floor(), _labels(), extras={"size": 1 + _unit()}),
    "symbols": lambda: Batch(_symbols(), _labels()),
    "images": lambda: Batch(_binary(2, 8, 4), _labels()),
    "sequences": lambda: Batch(_binary(6, 4), _labels(), lengths(6)),
    "steps": lambda: Batch(_binary(6, 4), _labels(), lengths(6)),
    "series": lambda: Batch(_real(6, 4), _labels(), lengths(6)),
    "cells": lambda: Batch(_real(4), _labels(), _cells()),
    "holes": lambda: Batch(_binary(2, 8, 4), _labels(), _holes()),
    "parts": _parts,
    "attributes": lambda: Batch(_binary(4), _real(2)),
    "pictures": lambda: Batch(_binary(2, 8, 4), _unit(2, 8, 4)),
    "grey": lambda: Batch(_unit(1, 8, 8), _labels()),
}
"""Made-up data by name: vectors of each support, images ``[2, 8, 4]``, sequences ``[6, 4]`` with a
mask over their steps (``steps`` with a latent variable at each), vectors and images with a mask
over their cells, data of two parts. Conditions are labels, but vectors of ``attributes`` and
images of ``pictures``."""

_SUPPORTS = {"counts": "count", "symbols": "one-hot"}
_LIKELIHOODS = {
    "binary": "bernoulli",
    "unit": "continuous-bernoulli",
    "real": "normal",
    "symbols": "categorical",
    "images": "bernoulli",
    "sequences": "bernoulli",
    "series": {"type": "normal", "scale": 0.5},
    "cells": {"type": "normal", "scale": 0.5},
    "attributes": "bernoulli",
    "pictures": "bernoulli",
    "grey": "continuous-bernoulli",
}


def mlp(hidden: int) -> dict[str, Any]:
    """The block of a small ``mlp``."""
    return {"type": "mlp", "hidden": [hidden]}


def tiny_model(data: str) -> dict[str, Any]:
    """The block ``model`` for made-up data."""
    if data == "parts":
        both = {"type": "joint", "parts": {"left": mlp(8), "right": mlp(6)}}
        likelihood = {"type": "joint", "parts": {"left": "bernoulli", "right": "laplace"}}
        parts: dict[str, Any] = {"encoder": both, "decoder": both, "likelihood": likelihood}
        return {"latent_dim": LATENT_DIM, **parts}
    if data == "steps":
        each = dict.fromkeys(("encoder", "latents", "decoder"), NAME)
        return {"latent_dim": LATENT_DIM, "likelihood": "bernoulli", **each}
    return {
        "latent_dim": LATENT_DIM,
        "encoder": mlp(8),
        "decoder": mlp(7),
        "likelihood": _LIKELIHOODS.get(data, "bernoulli"),
    }


def tiny_spec(data: str | None) -> dict[str, Any]:
    """A spec without a component under test.

    Args:
        data: the name of made-up data; None if the data set is to be filled in.
    """
    block: dict[str, Any] = {"type": "memory", "batch_size": BATCH, "fractions": [0.5, 0.25, 0.25]}
    if data in _SUPPORTS:
        block["support"] = _SUPPORTS[data]
    return {
        "spec": "vaezoo/v2",
        "name": "promises",
        "data": block,
        "model": tiny_model(data or "real"),
        "train": {
            "steps": 6,
            # not adam, which makes a step of the rounding error of a gradient of 0
            "optimizer": {"type": "sgd", "lr": 0.01, "momentum": 0.9},
            "device": "cpu",
            "select": "last",
        },
        "evaluate": [],
    }
