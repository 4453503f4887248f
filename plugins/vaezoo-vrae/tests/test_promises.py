"""The promises of the components of this plugin."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
import torch

import vaezoo
from vaezoo import testing
from vaezoo.testing import Setting

STEPS = {"type": "recurrent", "hidden": [8], "units": 6}
MODEL = {"encoder": STEPS, "decoder": {"type": "steps", "hidden": [8]}}
CHAIN = {"type": "chain", "units": 6, "hidden": 6}
RECURRENT = {"type": "recurrent", "units": 6}


def within(latents, **changes):
    """A spec of a sequence model."""
    return {"model": {**MODEL, "latents": latents}, **changes}


LABEL = {"type": "label", "into": ["decoder"]}
FOLDER = tempfile.TemporaryDirectory()  # removed when the process ends


def file(name, text):
    """The path of a file with this text."""
    path = Path(FOLDER.name) / name
    path.write_text(text)
    return str(path)


LINES = "\n".join("abc"[i % 3] * (1 + i % 5) + "abcd"[: i % 4] for i in range(60))
TEXT = {"type": "text", "path": file("lines.txt", LINES), "fractions": [0.5, 0.25, 0.25]}
CELLS = "\n".join(["hour,warm,wet", *(f"{i},{i % 7}.5,{i % 4}" for i in range(120))])
SERIES = {
    "type": "sequences",
    "path": file("series.csv", CELLS),
    "time": "hour",
    "window": 4,
    "fractions": [0.5, 0.25, 0.25],
}
ROLLS = vaezoo.Batch(
    (torch.rand(60, 6, 88, generator=torch.Generator().manual_seed(0)) < 0.1).float(),
    torch.arange(60) % 3,
    torch.ones(60, 6, dtype=torch.bool),
)
SYMBOLS = {"model": {**MODEL, "latents": RECURRENT, "likelihood": "categorical"}}
SETTINGS = {
    "encoder recurrent": Setting(
        options={"hidden": [8], "units": 6}, spec=within(CHAIN), data="sequences"
    ),
    "latents chain": [
        Setting(options={"units": 6, "hidden": 6}, spec={"model": MODEL}, data="sequences"),
        Setting(
            options={"units": 6, "hidden": 6, "levels": 2, "clocks": [2, 1], "sequence_dim": 2},
            spec={"model": MODEL},
            data="series",
        ),
    ],
    "latents recurrent": Setting(options={"units": 6}, spec={"model": MODEL}, data="sequences"),
    "decoder steps": Setting(options={"hidden": [8]}, spec=within(CHAIN), data="sequences"),
    "metric label-accuracy": Setting(
        options={"per_class": 6},
        spec={"model": {**MODEL, "latents": RECURRENT, "condition": LABEL}},
        data="sequences",
    ),
    "metric reconstruction-accuracy": Setting(spec={**SYMBOLS, "data": TEXT}),
    "dataset text": Setting(options={k: v for k, v in TEXT.items() if k != "type"}),
    "dataset sequences": Setting(options={k: v for k, v in SERIES.items() if k != "type"}),
    "format txt": Setting(spec={**SYMBOLS, "data": TEXT}),
    "format csv": Setting(spec={"data": SERIES}),
    "format mid": Setting(data=ROLLS),
    "format wav": Setting(data=ROLLS),
    "metric next-step": Setting(spec=within(CHAIN), data="sequences"),
    "metric steps": Setting(options={"particles": 3}, spec=within(CHAIN), data="sequences"),
}


@pytest.mark.parametrize("promise", testing.promises("vaezoo-vrae", SETTINGS), ids=str)
def test_promise(promise):
    promise.check()
