"""Weights of the KL: penalties, schedules, data with known factors and disentanglement metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

import vaezoo

if TYPE_CHECKING:
    from vaezoo import Register

_COMPONENTS = {
    "regularizer": {
        "beta-kl": "vaezoo_beta.kl:BetaKL",
        "capacity-kl": "vaezoo_beta.kl:CapacityKL",
        "free-bits": "vaezoo_beta.kl:FreeBits",
        "beta-tc": "vaezoo_beta.total_correlation:BetaTC",
        "factor": "vaezoo_beta.factor:Factor",
        "dip": "vaezoo_beta.dip:Dip",
    },
    "objective": {"geco": "vaezoo_beta.tuning:Geco"},
    "schedule": {
        "pi-control": "vaezoo_beta.tuning:PIControl",
        "logistic": "vaezoo_beta.tuning:Logistic",
    },
    "dataset": {"sprites": "vaezoo_beta.sprites:Sprites"},
    "metric": {
        "mig": "vaezoo_beta.scores:MIG",
        "sap": "vaezoo_beta.scores:SAP",
        "dci": "vaezoo_beta.scores:DCI",
        "modularity": "vaezoo_beta.scores:Modularity",
        "factor-vae-score": "vaezoo_beta.votes:FactorVAEScore",
        "beta-vae-score": "vaezoo_beta.votes:BetaVAEScore",
    },
}


@vaezoo.hookimpl
def vaezoo_components(register: Register) -> None:
    """Registers the components of this plugin."""
    for kind, targets in _COMPONENTS.items():
        for name, target in targets.items():
            register(kind, name, target)
