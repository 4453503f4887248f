"""Fine-tuning as docs/specs.md describes it, through the command line."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import vaezoo
from vaezoo.cli.main import main
from vaezoo.utils.files import read_tensors

DOCS = Path(__file__).parents[2] / "docs/specs.md"
SHORT = ["-s", "train.epochs=1", "-s", "train.device=cpu", "-s", "train.optimizer.lr=1e-30"]


@pytest.fixture
def documented(tmp_path, monkeypatch, no_report):
    """The spec of the documentation as mine.yaml beside a folder of photos in two classes."""
    section = DOCS.read_text("utf-8").split("### Fine-tune on your own data")[1]
    (tmp_path / "mine.yaml").write_text(re.search(r"```yaml\n(.*?)```", section, re.S)[1])
    random = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(20):
            pixels = random.integers(0, 256, (30, 30), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{i}.png")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def vaezoo_run(documented, capsys):
    """Runs mine.yaml as the command does; returns the exit code and all that is printed."""

    def call(*options):
        try:
            main(["run", "mine.yaml", *SHORT, *options])
            code = 0
        except SystemExit as stop:
            code = stop.code or 0
        printed = capsys.readouterr()
        return SimpleNamespace(exit_code=code, output=printed.out + printed.err)

    return call


def trained(before=()):
    """The path and the weights of the newest run."""
    (path,) = {*Path("runs/mine").iterdir()} - {*before}
    return path, read_tensors(path / "model.safetensors")[0]


def test_a_run_begins_with_pretrained_weights_then_a_run_then_a_file(vaezoo_run, same):
    result = vaezoo_run()
    assert result.exit_code == 0, result.output
    assert "init: all parts of vae-mnist-conv\n" in result.output
    first, weights = trained()
    expected = vaezoo.load("vae-mnist-conv").state_dict()
    learned = [name for name in expected if "num_batches" not in name]
    same({name: weights[name] for name in learned}, {name: expected[name] for name in learned})
    for source in (str(first), str(first / "model.safetensors")):
        before = [*Path("runs/mine").iterdir()]
        result = vaezoo_run("-s", f"init.0.from={source}", "-s", "seed=5")
        assert result.exit_code == 0, result.output
        path, again = trained(before)
        same(weights, again)
        (item,) = json.loads((path / "environment.json").read_text())["init"]
        assert item["from"] == source and item["is_run"] == Path(source).is_dir()


def test_weights_that_do_not_fit_start_anew_and_are_named_where_told_so(vaezoo_run, same):
    shape = ["-s", "model.latent_dim=8"]
    result = vaezoo_run(*shape)
    assert result.exit_code == 3 and "set strict: false" in result.output, result.output
    (line,) = [line for line in result.output.splitlines() if line.startswith("error")]
    assert "latents of vae-mnist-conv: weights do not fit" in line
    options = [*shape, "-s", "init.0.strict=false"]
    dry = vaezoo_run(*options, "--dry-run")
    named = "decoder.project.0.weight is (3136, 32), not (3136, 8)"
    assert dry.exit_code == 0 and "3 weights keep their initial values" in dry.output
    assert named in dry.output
    result = vaezoo_run(*options)
    assert result.exit_code == 0 and named in result.output, result.output
    path, weights = trained()
    pretrained = vaezoo.load("vae-mnist-conv").state_dict()
    fitting = {n: w for n, w in weights.items() if pretrained[n].shape == w.shape}
    same(fitting, {name: pretrained[name] for name in fitting})
    (item,) = json.loads((path / "environment.json").read_text())["init"]
    assert len(item["kept"]) == len(weights) - len(fitting) == 3
    assert yaml.safe_load((path / "spec.yaml").read_text())["init"] == [
        {"from": "vae-mnist-conv", "strict": False}
    ]


def test_another_number_of_classes_keeps_all_but_the_layers_of_the_label(vaezoo_run, same):
    label = ["-s", "model.condition=label", "-s", "model.encoder={type: mlp, hidden: [16]}"]
    label += ["-s", "model.decoder={type: mlp, hidden: [16]}", "-s", "init=[]"]
    assert vaezoo_run(*label).exit_code == 0
    source, weights = trained()
    (Path("photos") / "owl").mkdir()
    for i in range(20):
        Image.new("L", (30, 30), 9 * i).save(f"photos/owl/{i}.png")
    init = f"init=[{{from: {source}, strict: false}}]"
    result = vaezoo_run(*label[:-1], init)
    assert result.exit_code == 0, result.output
    _, again = trained([source])
    changed = {name for name in weights if weights[name].shape != again[name].shape}
    assert changed and all("into" in n or "class" in n or ".0." in n for n in changed), changed
    kept = [name for name in weights if name not in changed]
    same({name: weights[name] for name in kept}, {name: again[name] for name in kept})
    strict = vaezoo_run(*label[:-1], f"init=[{{from: {source}}}]")
    assert strict.exit_code == 3 and "weights do not fit the spec" in strict.output


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("photos/cat/0.png", "is no file of weights, which end in .safetensors"),
        ("missing.safetensors", "cannot be read as safetensors"),
        ("damaged.safetensors", "cannot be read as safetensors"),
        ("other.safetensors", "no weight of other.safetensors fits the model"),
        ("runs/none", "not a run, and no weights"),
        ("photos", "photos"),
    ],
)
def test_sources_that_are_no_weights_are_refused_in_one_line(vaezoo_run, source, message):
    from safetensors.torch import save_file

    Path("damaged.safetensors").write_bytes(b"{}")
    save_file({"encoder.w": torch.zeros(2)}, "other.safetensors")
    result = vaezoo_run("-s", f"init.0.from={source}", "-s", "init.0.strict=false")
    errors = [line for line in result.output.splitlines() if line.startswith("error")]
    assert result.exit_code == 3 and len(errors) == 1, result.output
    assert message in errors[0] and "init.0" in errors[0]
    assert not Path("runs").exists()
