"""Small runs on files of each kind, and other files of that kind that a user may have."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from vaezoo_vrae.midi_files import write_roll

from vaezoo.cli.main import main

MLP = {"type": "mlp", "hidden": [8]}
STEPS = {
    "latent_dim": 3,
    "encoder": {"type": "recurrent", "hidden": [8], "units": 8},
    "latents": {"type": "recurrent", "units": 8},
    "decoder": {"type": "steps", "hidden": []},
}


@dataclass(frozen=True)
class Trained:
    """A run, and files of a user.

    Attributes:
        run: the directory of the run.
        file: a file.
        folder: a folder of such files, in sub-folders.
        count: how many examples the folder holds.
        ending: that of a file of generated examples.
    """

    run: Path
    file: Path
    folder: Path
    count: int
    ending: str


def call(*arguments: object) -> int:
    """The exit code of a command."""
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as stopped:
        return int(stopped.code or 0)
    return 0


def train(home: Path, data: dict, model: dict) -> Path:
    content = {
        "spec": "vaezoo/v2",
        "name": "small",
        "data": data,
        "model": model,
        "train": {"steps": 3},
        "evaluate": ["elbo"],
    }
    (home / "spec.yaml").write_text(json.dumps(content))
    assert call("-q", "run", home / "spec.yaml", "--out", home / "runs") == 0
    (run,) = (home / "runs/small").iterdir()
    return run


def save_image(path: Path, seed: int, size: int = 8, channels: int = 3) -> Path:
    shape = (size, size) if channels == 1 else (size, size, channels)
    pixels = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def save_song(path: Path, seed: int, steps: int = 10) -> Path:
    roll = np.zeros((steps, 88), bool)
    roll[np.arange(steps), np.random.default_rng(seed).integers(30, 60, steps)] = True
    path.parent.mkdir(parents=True, exist_ok=True)
    write_roll(roll, path)
    return path


@pytest.fixture(scope="session", name="call")
def call_fixture():
    """Calls a command in this process; returns its exit code."""
    return call


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """Images of 8x8 in colour, resized from 12x12, of two classes that the model is told."""
    home = tmp_path_factory.mktemp("photos")
    for i in range(24):
        save_image(home / "train" / "ab"[i % 2] / f"{i}.png", i, 12)
    data = {"type": "image-folder", "path": str(home / "train"), "size": 8, "batch_size": 8}
    condition = {"type": "label", "dropout": 0.2}
    shared = {
        "latent_dim": 2,
        "encoder": MLP,
        "decoder": MLP,
        "likelihood": "continuous-bernoulli",
    }
    run = train(home, data, shared | {"condition": condition})
    file = save_image(home / "new/one.jpg", 90, 20)
    save_image(home / "new/b/deep/two.png", 91, channels=1)
    save_image(home / "new/b/three.PNG", 92)
    return Trained(run, file, home / "new", 3, "png")


@pytest.fixture(scope="session")
def music(tmp_path_factory):
    """MIDI files in windows of 6 steps."""
    home = tmp_path_factory.mktemp("music")
    for i in range(12):
        save_song(home / f"songs/{i}.mid", i)
    data = {"type": "midi", "path": str(home / "songs"), "window": 6, "batch_size": 4}
    run = train(home, data, STEPS | {"likelihood": "bernoulli"})
    file = save_song(home / "new/one.midi", 90)  # two windows
    save_song(home / "new/deep/two.mid", 91, 13)  # three
    return Trained(run, file, home / "new", 5, "mid")


@pytest.fixture(scope="session")
def text(tmp_path_factory):
    """Lines of text."""
    home = tmp_path_factory.mktemp("text")
    (home / "lines.txt").write_text("".join("ab"[i % 2] * (2 + i % 4) + "\n" for i in range(40)))
    data = {"type": "text", "path": str(home / "lines.txt"), "batch_size": 8}
    run = train(home, data, STEPS | {"likelihood": "categorical"})
    (home / "new/deep").mkdir(parents=True)
    (home / "new/one.txt").write_text("ab\n\nbaz\n")
    (home / "new/deep/two.csv").write_text("text,other\naaa,1\nb,2\n")
    return Trained(run, home / "new/one.txt", home / "new", 4, "txt")


@pytest.fixture(scope="session")
def table(tmp_path_factory):
    """A table in German spelling with an identifier and labels that the model is told."""
    home = tmp_path_factory.mktemp("table")

    def rows(first: int, count: int) -> str:
        generator = np.random.default_rng(first)
        lines = ["id;size;town;kind"]
        for i in range(first, first + count):
            size = f"{170 + 10 * generator.normal():.1f}".replace(".", ",")
            lines.append(f"user-{i};{size};{('Köln', 'Ulm')[i % 2]};{('cat', 'dog')[i % 2]}")
        return "\n".join(lines) + "\n"

    (home / "people.csv").write_text(rows(0, 60), "latin-1")
    data = {
        "type": "table",
        "path": str(home / "people.csv"),
        "encoding": "latin-1",
        "condition": "kind",
        "batch_size": 16,
    }
    model = {
        "latent_dim": 2,
        "encoder": {"type": "table", "body": MLP},
        "decoder": MLP,
        "likelihood": "table",
        "condition": "label",
    }
    run = train(home, data, model)
    (home / "new/deep").mkdir(parents=True)
    (home / "new/one.csv").write_text(rows(100, 3), "latin-1")
    (home / "new/deep/two.csv").write_text(rows(200, 2), "latin-1")
    return Trained(run, home / "new/one.csv", home / "new", 5, "csv")


@pytest.fixture(scope="session")
def arrays(tmp_path_factory):
    """Images in an npz file, also given as images."""
    home = tmp_path_factory.mktemp("arrays")
    shared = {
        "latent_dim": 2,
        "encoder": MLP,
        "decoder": MLP,
        "likelihood": "continuous-bernoulli",
    }
    run = train(home, {"type": "digits", "batch_size": 256}, shared)
    (home / "new").mkdir()
    pixels = np.random.default_rng(9).integers(0, 256, (3, 1, 8, 8), np.uint8)
    np.savez(home / "new/one.npz", x=pixels)
    save_image(home / "new/7/two.png", 91, channels=1)
    return Trained(run, home / "new/one.npz", home / "new", 4, "npz")
