"""vaezoo: a plugin-based model zoo for variational autoencoders.

Public names are imported when they are first used, so that ``import vaezoo`` does not import torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from vaezoo.hookspecs import hookimpl as hookimpl

if TYPE_CHECKING:  # "as" makes a name public for type checkers
    from vaezoo.composer import compose as compose
    from vaezoo.data.images import Binarize as Binarize
    from vaezoo.data.images import image_spec as image_spec
    from vaezoo.data.images import image_split as image_split
    from vaezoo.data.loader import Loader as Loader
    from vaezoo.data.npz import read_npz as read_npz
    from vaezoo.data.paths import find as find
    from vaezoo.data.paths import home as home
    from vaezoo.data.splits import Fractions as Fractions
    from vaezoo.data.splits import indices as indices
    from vaezoo.errors import DataError as DataError
    from vaezoo.errors import IntegrityError as IntegrityError
    from vaezoo.errors import PluginError as PluginError
    from vaezoo.errors import RegistryError as RegistryError
    from vaezoo.errors import SpecError as SpecError
    from vaezoo.errors import UnavailableError as UnavailableError
    from vaezoo.errors import VaezooError as VaezooError
    from vaezoo.facts import Attribute as Attribute
    from vaezoo.facts import DataSpec as DataSpec
    from vaezoo.facts import Estimate as Estimate
    from vaezoo.facts import Facts as Facts
    from vaezoo.facts import Split as Split
    from vaezoo.files import atomic as atomic
    from vaezoo.hookspecs import Register as Register
    from vaezoo.hookspecs import RegisterRegistry as RegisterRegistry
    from vaezoo.interfaces import Callback as Callback
    from vaezoo.interfaces import Conditioner as Conditioner
    from vaezoo.interfaces import Dataset as Dataset
    from vaezoo.interfaces import Decoder as Decoder
    from vaezoo.interfaces import Encoder as Encoder
    from vaezoo.interfaces import Format as Format
    from vaezoo.interfaces import Latents as Latents
    from vaezoo.interfaces import Likelihood as Likelihood
    from vaezoo.interfaces import Metric as Metric
    from vaezoo.interfaces import Objective as Objective
    from vaezoo.interfaces import Posterior as Posterior
    from vaezoo.interfaces import Prior as Prior
    from vaezoo.interfaces import Regularizer as Regularizer
    from vaezoo.interfaces import Schedule as Schedule
    from vaezoo.model import Model as Model
    from vaezoo.registry.loading import load as load
    from vaezoo.runs import Run as Run
    from vaezoo.runs import open_run as open_run
    from vaezoo.runs import resume as resume
    from vaezoo.runs import run as run
    from vaezoo.spec.load import Spec as Spec
    from vaezoo.spec.load import load as load_spec
    from vaezoo.symbols import END as END
    from vaezoo.symbols import UNKNOWN as UNKNOWN
    from vaezoo.symbols import spelled as spelled
    from vaezoo.trace import Batch as Batch
    from vaezoo.trace import Loop as Loop
    from vaezoo.trace import Phase as Phase
    from vaezoo.trace import Site as Site
    from vaezoo.trace import Terms as Terms
    from vaezoo.trace import Trace as Trace

_HOMES = {
    "vaezoo.composer": ["compose"],
    "vaezoo.data.images": ["Binarize", "image_spec", "image_split"],
    "vaezoo.data.loader": ["Loader"],
    "vaezoo.data.npz": ["read_npz"],
    "vaezoo.data.paths": ["find", "home"],
    "vaezoo.data.splits": ["Fractions", "indices"],
    "vaezoo.errors": [
        "DataError",
        "IntegrityError",
        "PluginError",
        "RegistryError",
        "SpecError",
        "UnavailableError",
        "VaezooError",
    ],
    "vaezoo.facts": ["Attribute", "DataSpec", "Estimate", "Facts", "Split"],
    "vaezoo.files": ["atomic"],
    "vaezoo.hookspecs": ["Register", "RegisterRegistry"],
    "vaezoo.interfaces": [
        "Callback",
        "Conditioner",
        "Dataset",
        "Decoder",
        "Encoder",
        "Format",
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
    "vaezoo.registry.loading": ["load"],
    "vaezoo.runs": ["Run", "open_run", "resume", "run"],
    "vaezoo.spec.load": ["Spec"],
    "vaezoo.symbols": ["END", "UNKNOWN", "spelled"],
    "vaezoo.trace": ["Batch", "Loop", "Phase", "Site", "Terms", "Trace"],
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
