"""Sequences: recurrent encoders, latents for the whole and for every step, data of many lengths, particle bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import vaezoo

if TYPE_CHECKING:
    from vaezoo import Register

_COMPONENTS = {
    "dataset": {
        "polyphonic": "vaezoo_vrae.polyphonic:Polyphonic",
        "sequences": "vaezoo_vrae.sequences:Sequences",
        "series": "vaezoo_vrae.series:Series",
        "text": "vaezoo_vrae.text:Text",
        "cities": "vaezoo_vrae.text:Cities",
        "chorales": "vaezoo_vrae.chorales:Chorales",
        "midi": "vaezoo_vrae.midi:Midi",
    },
    "encoder": {"recurrent": "vaezoo_vrae.steps:RecurrentEncoder"},
    "latents": {"recurrent": "vaezoo_vrae.recurrent:Recurrent", "chain": "vaezoo_vrae.chain:Chain"},
    "metric": {
        "steps": "vaezoo_vrae.metrics:Steps",
        "next-step": "vaezoo_vrae.metrics:NextStep",
        "reconstruction-accuracy": "vaezoo_vrae.metrics:ReconstructionAccuracy",
        "label-accuracy": "vaezoo_vrae.judge:LabelAccuracy",
    },
    "format": {
        "txt": "vaezoo_vrae.formats:Txt",
        "mid": "vaezoo_vrae.formats:Mid",
        "wav": "vaezoo_vrae.formats:Wav",
    },
    "decoder": {"steps": "vaezoo_vrae.steps:StepsDecoder"},
}


@vaezoo.hookimpl
def vaezoo_components(register: Register) -> None:
    """Registers everything that this plugin brings."""
    for kind, targets in _COMPONENTS.items():
        for name, target in targets.items():
            register(kind, name, target)
