"""Metrics of what latent variables hold: probes, clustering, rates, total correlation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import vaezoo

if TYPE_CHECKING:
    from vaezoo import Register

_METRICS = {
    "knn-probe": "vaezoo_probes.probes:KNNProbe",
    "linear-probe": "vaezoo_probes.probes:LinearProbe",
    "clustering": "vaezoo_probes.clustering:Clustering",
    "kl-per-dimension": "vaezoo_probes.rates:KLPerDimension",
    "total-correlation": "vaezoo_probes.total_correlation:TotalCorrelation",
}


@vaezoo.hookimpl
def vaezoo_components(register: Register) -> None:
    """Registers the metrics of this plugin."""
    for name, target in _METRICS.items():
        register("metric", name, target)
