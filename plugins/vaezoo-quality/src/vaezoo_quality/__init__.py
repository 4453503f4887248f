"""Metrics of samples in named features, of reconstructions, and of memorisation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import vaezoo

if TYPE_CHECKING:
    from vaezoo import Register

_METRICS = {
    "frechet-distance": "vaezoo_quality.frechet:FrechetDistance",
    "kernel-distance": "vaezoo_quality.kernel:KernelDistance",
    "prdc": "vaezoo_quality.manifolds:PRDC",
    "reconstruction-quality": "vaezoo_quality.reconstruction:ReconstructionQuality",
    "memorisation": "vaezoo_quality.memorisation:Memorisation",
}


@vaezoo.hookimpl
def vaezoo_components(register: Register) -> None:
    """Registers the components of this plugin."""
    for name, target in _METRICS.items():
        register("metric", name, target)
