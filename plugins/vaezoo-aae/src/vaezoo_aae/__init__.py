"""Adversarial autoencoders: critics, implicit posteriors, shaped priors and categorical heads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import vaezoo

if TYPE_CHECKING:
    from vaezoo import Register

_COMPONENTS = {
    "regularizer": {
        "adversarial": "vaezoo_aae.critic:Adversarial",
        "supervised": "vaezoo_aae.heads:Supervised",
    },
    "posterior": {
        "deterministic": "vaezoo_aae.posteriors:Deterministic",
        "universal": "vaezoo_aae.posteriors:Universal",
    },
    "prior": {"ring": "vaezoo_aae.priors:Ring", "swiss-roll": "vaezoo_aae.priors:SwissRoll"},
    "latents": {"category-and-style": "vaezoo_aae.heads:CategoryAndStyle"},
    "metric": {
        "head-error": "vaezoo_aae.metrics:HeadError",
        "clustering-error": "vaezoo_aae.metrics:ClusteringError",
    },
}


@vaezoo.hookimpl
def vaezoo_components(register: Register) -> None:
    """Registers the components of this plugin."""
    for kind, targets in _COMPONENTS.items():
        for name, target in targets.items():
            register(kind, name, target)
