"""The promises of the components of this plugin."""

from __future__ import annotations

import pytest

from vaezoo import testing
from vaezoo.testing import Setting

HEADS = {"model": {"latents": {"type": "category-and-style", "classes": 4}}, "regularizers": []}
SMALL = {"hidden": [8]}
SETTINGS = {
    "prior ring": [Setting(), Setting(options={"components": 3, "radius": 1.0})],
    "latents category-and-style": [Setting(options={"classes": n}) for n in (4, 7)],
    "regularizer adversarial": [
        Setting(options={**SMALL, "loss": "non-saturating"}),
        Setting(options={**SMALL, "loss": "least-squares"}),
        Setting(options=SMALL, spec={**HEADS, "model": {**HEADS["model"], "prior": "ring"}}),
    ],
    "regularizer supervised": Setting(spec=HEADS),
    "metric head-error": Setting(
        spec={**HEADS, "model": {"latents": {"type": "category-and-style", "classes": 3}}}
    ),
    "metric clustering-error": Setting(spec=HEADS),
}


@pytest.mark.parametrize("promise", testing.promises("vaezoo-aae", SETTINGS), ids=str)
def test_promise(promise):
    promise.check()
