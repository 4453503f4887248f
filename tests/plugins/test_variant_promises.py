"""The promises of the components of out-of-tree packages: one test for each component."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from vaezoo import testing
from vaezoo.plugins.discovery import catalogue

MLP = {"type": "mlp", "hidden": [6]}
CONV = {"type": "conv", "channels": [4, 4]}
MAPS = {"encoder": CONV, "decoder": {"type": "conv", "channels": [4]}}
DEEP = {"encoder": CONV, "decoder": CONV}
VQ = {**DEEP, "latents": {"type": "vector-quantized", "codes": 5}}
PARTS = {"left": MLP, "right": MLP}
JOINT = {
    "encoder": {"type": "joint", "parts": PARTS},
    "decoder": {"type": "joint", "parts": PARTS},
}
FOLDER = tempfile.TemporaryDirectory()  # removed when the process ends


def rows():
    """A file of people, with cells that are missing."""
    cells = [f"{20 + i}.5,{i % 5},{'abc'[i % 3] if i % 4 else ''}" for i in range(60)]
    path = Path(FOLDER.name) / "rows.csv"
    path.write_text("\n".join(["age,visits,city", *cells]))
    kinds = {"visits": "count", "city": "categorical"}
    return {"type": "rows", "path": str(path), "kinds": kinds}


ROWS = rows()
VARIANTS = {
    "prior diffusion": {"options": {"steps": 4, "hidden": [6]}},
    "latents ladder": {"spec": {"model": MAPS}, "data": "images"},
    "latents class-and-style": {"spec": {"objective": "m2", "regularizers": []}},
    "latents symbol-map": {
        "spec": {"model": {**DEEP, "prior": "uniform-symbols"}},
        "data": "images",
    },
    "objective m2": {"spec": {"model": {"latents": "class-and-style"}}},
    "prior uniform-symbols": {"spec": {"model": VQ}, "data": "images"},
    "latents gumbel-softmax": {
        "options": {"classes": 4},
        "spec": {"model": {"prior": "uniform-classes"}},
    },
    "prior uniform-classes": {
        "spec": {"model": {"latents": {"type": "gumbel-softmax", "classes": 4}}}
    },
    "latents vector-quantized": {
        "options": {"codes": 5},
        "spec": {
            "model": {**DEEP, "prior": "uniform-symbols"},
            "regularizers": ["commitment"],
        },
        "data": "images",
    },
    "regularizer commitment": {
        "spec": {"model": {**VQ, "prior": "uniform-symbols"}, "regularizers": []},
        "data": "images",
    },
    "prior autoregressive": {
        "options": {"hidden": 6, "layers": 1},
        "spec": {"model": VQ},
        "data": "images",
    },
    "encoder parallel": {"options": {"branches": PARTS}},
    "encoder ensemble": {"options": {"members": [MLP, MLP]}},
    "objective vae-gan": {"options": {"discriminator": MLP}},
    "likelihood negative-binomial": {},
    "likelihood poisson": {},
    "encoder log1p": {"options": {"encoder": MLP}},
    "likelihood columns": {"spec": {"data": ROWS}},
    "dataset rows": {"options": {k: v for k, v in ROWS.items() if k != "type"}},
    "latents product-of-experts": {"spec": {"model": JOINT}, "data": "parts"},
    "objective subset-elbo": {
        "spec": {"model": {**JOINT, "latents": "product-of-experts"}},
        "data": "parts",
    },
}
TINY = [
    "encoder tiny",
    "regularizer tiny-critic",
    "conditioner tiny-label",
    "prior tiny-conditional",
]


def check(component, plugin, **setting):
    kind, _, name = component.partition(" ")
    testing.check_component(catalogue().find(kind, f"{plugin}:{name}").load(), **setting)


@pytest.mark.parametrize("component", VARIANTS)
def test_the_variants_keep_their_promises(component, variants):
    check(component, "vaezoo-variants", **VARIANTS[component])


@pytest.mark.parametrize("component", TINY)
def test_the_smallest_plugin_keeps_its_promises(component, installed):
    check(component, "vaezoo-tiny")
