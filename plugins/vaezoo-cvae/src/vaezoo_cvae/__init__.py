"""Conditioners for labels, attributes and images, a conditional prior, data sets and metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

import vaezoo

if TYPE_CHECKING:
    from vaezoo import Register

_COMPONENTS = {
    "conditioner": {
        "label": "vaezoo_cvae.conditioners:Label",
        "attributes": "vaezoo_cvae.conditioners:Attributes",
        "image": "vaezoo_cvae.conditioners:Image",
    },
    "prior": {"conditional-normal": "vaezoo_cvae.priors:ConditionalNormal"},
    "dataset": {
        "colored-mnist": "vaezoo_cvae.colored:ColoredMNIST",
        "quadrants": "vaezoo_cvae.quadrants:Quadrants",
    },
    "features": {"mnist-classifier": "vaezoo_cvae.classifier:Classifier"},
    "metric": {
        "conditional-accuracy": "vaezoo_cvae.accuracy:ConditionalAccuracy",
        "sample-recall": "vaezoo_cvae.accuracy:SampleRecall",
    },
}


@vaezoo.hookimpl
def vaezoo_components(register: Register) -> None:
    """Registers the components of this plugin."""
    for kind, targets in _COMPONENTS.items():
        for name, target in targets.items():
            register(kind, name, target)
