"""The commands that a finished run names: they fit its model and its data, and they work."""

from __future__ import annotations

import shlex
from dataclasses import replace

import numpy as np
import pytest

import vaezoo
from vaezoo.cli.main import main
from vaezoo.cli.next_commands import next_commands
from vaezoo.data.dataspec import DataSpec, Field
from vaezoo.runs.file_formats import usual_suffix

SYMBOLS = Field("symbol", "categorical", (0, 3), categories=("<eos>", "<unk>", "a"))
SEQUENCE = {"mask_dims": 1, "variable_length": True}
IMAGE = DataSpec((1, 8, 8), "unit", 256)
VECTOR = DataSpec((3,), "real")
MUSIC = DataSpec((6, 88), "binary", 2, **SEQUENCE)


@pytest.mark.parametrize(
    ("data", "suffix"),
    [
        (IMAGE, "png"),
        (VECTOR, "csv"),
        (replace(VECTOR, fields=(Field("age", "numeric", (0, 1)),)), "csv"),
        (MUSIC, "mid"),
        (replace(MUSIC, facts={"vaezoo-vrae": {"steps_per_beat": 4}}), "mid"),
        (DataSpec((6, 3), "one-hot", 2, fields=(SYMBOLS,), **SEQUENCE), "txt"),
        (DataSpec((6, 2), "real", **SEQUENCE), "png"),
        (DataSpec((2, 3, 4), "real"), "npz"),
        (DataSpec((), "joint", parts={"image": IMAGE, "vector": VECTOR}), "png"),
        (DataSpec((), "joint", parts={"one": VECTOR, "two": VECTOR}), "npz"),
    ],
)
def test_samples_are_written_in_the_format_that_people_expect(data, suffix):
    assert usual_suffix(data) == suffix


MLP = {"type": "mlp", "hidden": [8]}
LABEL = {"condition": {"type": "label", "into": ["encoder", "decoder"]}}


def finished_run(folder, x, labels, **model):
    arrays = {"x": x} if labels is None else {"x": x, "condition": labels}
    np.savez(folder / "x.npz", **arrays)
    parts = {"latent_dim": 2, "encoder": MLP, "decoder": MLP, "likelihood": "normal"}
    spec = {
        "spec": "vaezoo/v2",
        "name": "small",
        "data": {"type": "npz", "path": str(folder / "x.npz"), "batch_size": 32},
        "model": {**parts, **model},
        "train": {"steps": 2, "device": "cpu"},
        "evaluate": ["elbo"],
    }
    return vaezoo.run(spec, out=folder / "runs of mine")


@pytest.mark.parametrize(
    ("shape", "classes", "expected"),
    [
        ((5,), 0, "-n 16 --out samples.csv"),
        ((1, 4, 4), 4, "--condition all -n 4 --out samples.png"),
        ((1, 4, 4), 12, "--condition 0 -n 16 --out samples.png"),
    ],
)
def test_the_commands_of_a_run_work(tmp_path, monkeypatch, no_report, shape, classes, expected):
    x = np.random.default_rng(0).random((120, *shape)).astype(np.float32)
    labels = np.arange(120) % classes if classes else None
    run = finished_run(tmp_path, x, labels, **(LABEL if classes else {}))
    commands = next_commands(run)
    assert commands[0] == f"vaezoo sample '{run.path}' {expected}"
    monkeypatch.chdir(tmp_path)
    for command in commands:
        with pytest.raises(SystemExit) as end:
            main(shlex.split(command)[1:])
        assert end.value.code == 0, command
    assert list(tmp_path.glob("samples.*")) and (tmp_path / "scores.csv").is_file()
