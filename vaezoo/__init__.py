"""vaezoo: a plugin-based model zoo for variational autoencoders.

Public names are imported when they are first used, so that ``import vaezoo`` does not import torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from vaezoo.hookspecs import hookimpl

if TYPE_CHECKING:
    from vaezoo.compose import compose
    from vaezoo.data.images import Binarize, image_spec, image_split
    from vaezoo.data.loader import Loader
    from vaezoo.errors import DataError, IntegrityError, PluginError, SpecError, UnavailableError, VaezooError
    from vaezoo.facts import Attribute, DataSpec, Estimate, Facts, Split
    from vaezoo.hookspecs import Register
    from vaezoo.interfaces import (
        Callback,
        Conditioner,
        Dataset,
        Decoder,
        Encoder,
        Latents,
        Likelihood,
        Metric,
        Objective,
        Posterior,
        Prior,
        Regularizer,
        Schedule,
    )
    from vaezoo.model import Model
    from vaezoo.runs import Run, open_run, resume, run
    from vaezoo.spec.load import Spec
    from vaezoo.spec.load import load as load_spec
    from vaezoo.trace import Batch, Phase, Site, Terms, Trace

_HOMES = {
    "vaezoo.compose": ["compose"],
    "vaezoo.data.images": ["Binarize", "image_spec", "image_split"],
    "vaezoo.data.loader": ["Loader"],
    "vaezoo.errors": [
        "DataError",
        "IntegrityError",
        "PluginError",
        "SpecError",
        "UnavailableError",
        "VaezooError",
    ],
    "vaezoo.facts": ["Attribute", "DataSpec", "Estimate", "Facts", "Split"],
    "vaezoo.hookspecs": ["Register"],
    "vaezoo.interfaces": [
        "Callback",
        "Conditioner",
        "Dataset",
        "Decoder",
        "Encoder",
        "Latents",
        "Likelihood",
        "Metric",
        "Objective",
        "Posterior",
        "Prior",
        "Regularizer",
        "Schedule",
    ],
    "vaezoo.model": ["Model"],
    "vaezoo.runs": ["Run", "open_run", "resume", "run"],
    "vaezoo.spec.load": ["Spec"],
    "vaezoo.trace": ["Batch", "Phase", "Site", "Terms", "Trace"],
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [*sorted(_HOME_OF), "hookimpl", "load_spec"]


def __getattr__(name: str) -> Any:
    if name == "load_spec":
        return importlib.import_module("vaezoo.spec.load").load
    if name not in _HOME_OF:
        raise AttributeError(f"module 'vaezoo' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return __all__
