"""Sequence models: recurrent encoders, latents per sequence or step, particle bounds, data."""

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
    "latents": {
        "recurrent": "vaezoo_vrae.recurrent:Recurrent",
        "chain": "vaezoo_vrae.chain:Chain",
    },
    "metric": {
        "steps": "vaezoo_vrae.metrics:StepBounds",
        "next-step": "vaezoo_vrae.metrics:NextStep",
        "reconstruction-accuracy": "vaezoo_vrae.metrics:ReconstructionAccuracy",
        "label-accuracy": "vaezoo_vrae.label_accuracy:LabelAccuracy",
    },
    "format": {
        "txt": "vaezoo_vrae.formats:TextFormat",
        "mid": "vaezoo_vrae.formats:MidiFormat",
        "wav": "vaezoo_vrae.formats:WavFormat",
        "csv": "vaezoo_vrae.series_format:SeriesCsv",
    },
    "decoder": {"steps": "vaezoo_vrae.steps:StepsDecoder"},
}


@vaezoo.hookimpl
def vaezoo_components(register: Register) -> None:
    """Registers the components of this plugin."""
    for kind, targets in _COMPONENTS.items():
        for name, target in targets.items():
            register(kind, name, target)
