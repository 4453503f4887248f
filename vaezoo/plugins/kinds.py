"""Lists the kinds of component and the abstract class that the components of each kind subclass.

The classes are given by name, so that importing this module does not import torch.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from functools import cache

KINDS: Mapping[str, str] = {
    "dataset": "vaezoo.data.dataset:Dataset",
    "encoder": "vaezoo.model.parts:Encoder",
    "posterior": "vaezoo.model.parts:Posterior",
    "prior": "vaezoo.model.parts:Prior",
    "latents": "vaezoo.model.latents:Latents",
    "decoder": "vaezoo.model.parts:Decoder",
    "likelihood": "vaezoo.model.parts:Likelihood",
    "conditioner": "vaezoo.model.parts:Conditioner",
    "objective": "vaezoo.model.objectives:Objective",
    "regularizer": "vaezoo.model.objectives:Regularizer",
    "schedule": "vaezoo.model.objectives:Schedule",
    "metric": "vaezoo.evaluation.metric:Metric",
    "features": "vaezoo.evaluation.features:Features",
    "callback": "vaezoo.components.callbacks:Callback",
    "format": "vaezoo.data.format:Format",
}
"""The kinds in the order of the data flow, each with ``module:Class`` of its abstract class."""

KINDS_WITH_WIRING = frozenset(
    {
        "encoder",
        "posterior",
        "prior",
        "latents",
        "decoder",
        "likelihood",
        "conditioner",
        "objective",
        "regularizer",
    }
)
"""The kinds whose constructors take a wiring object, which depends on the data and other parts."""


@cache
def kind_class(kind: str) -> type:
    """Imports the abstract class of a kind."""
    module, _, name = KINDS[kind].partition(":")
    cls: type = getattr(importlib.import_module(module), name)
    return cls
