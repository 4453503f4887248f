"""Flexible posteriors and priors: flows, the VampPrior, Hamiltonian dynamics, fitted samplers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import vaezoo

if TYPE_CHECKING:
    from vaezoo import Register

_COMPONENTS = {
    "posterior": {
        "planar": "vaezoo_flows.posteriors:Planar",
        "inverse-autoregressive": "vaezoo_flows.posteriors:InverseAutoregressive",
        "neural-spline": "vaezoo_flows.posteriors:NeuralSpline",
    },
    "prior": {
        "real-nvp": "vaezoo_flows.priors:RealNVP",
        "masked-autoregressive": "vaezoo_flows.priors:MaskedAutoregressive",
        "neural-spline": "vaezoo_flows.priors:NeuralSpline",
        "vamp": "vaezoo_flows.vamp:VampPrior",
        "second-stage": "vaezoo_flows.second_stage:SecondStage",
    },
    "latents": {"hamiltonian": "vaezoo_flows.hamiltonian:Hamiltonian"},
}


@vaezoo.hookimpl
def vaezoo_components(register: Register) -> None:
    """Registers the components of this plugin."""
    for kind, targets in _COMPONENTS.items():
        for name, target in targets.items():
            register(kind, name, target)
