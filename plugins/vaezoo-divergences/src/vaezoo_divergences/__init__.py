"""Divergences of codes from the prior, regularized autoencoders, and bounds of several samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

import vaezoo

if TYPE_CHECKING:
    from vaezoo import Register

_COMPONENTS = {
    "regularizer": {
        "mmd": "vaezoo_divergences.mmd:MMD",
        "sliced-wasserstein": "vaezoo_divergences.sliced:SlicedWasserstein",
        "code-norm": "vaezoo_divergences.autoencoders:CodeNorm",
        "decoder-norm": "vaezoo_divergences.autoencoders:DecoderNorm",
        "decoder-gradient": "vaezoo_divergences.autoencoders:DecoderGradient",
    },
    "decoder": {"spectral": "vaezoo_divergences.autoencoders:SpectralDecoder"},
    "objective": {
        "renyi": "vaezoo_divergences.bounds:Renyi",
        "miwae": "vaezoo_divergences.bounds:MIWAE",
        "piwae": "vaezoo_divergences.bounds:PIWAE",
        "ciwae": "vaezoo_divergences.bounds:CIWAE",
    },
}


@vaezoo.hookimpl
def vaezoo_components(register: Register) -> None:
    """Registers the components of this plugin."""
    for kind, targets in _COMPONENTS.items():
        for name, target in targets.items():
            register(kind, name, target)
