"""The weights that come with vaezoo: they load, have the recorded metrics, and are packaged."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path

import pytest
import torch

import vaezoo
from vaezoo.cli.main import cli
from vaezoo.pretrained.registries import RegistryEntry, open_registries
from vaezoo.runs.checking import remeasure, verify
from vaezoo.runs.run import Run
from vaezoo.utils.errors import DataError, UnavailableError

ROOT = Path(__file__).parents[2]
(OWN,) = (registry for registry in open_registries() if not registry.prefix)
ENTRIES = [entry for entry in OWN.entries if entry.status == "active"]


@pytest.fixture(autouse=True)
def _no_network(monkeypatch, tmp_path):
    monkeypatch.setenv("VAEZOO_OFFLINE", "1")
    monkeypatch.setenv("VAEZOO_HOME", str(tmp_path))


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.id)
def test_each_is_as_declared_and_draws(entry):
    assert verify(RegistryEntry(OWN, entry)) == entry.size
    model = vaezoo.load(entry.id)
    shape = entry.preprocessing.condition
    condition = "all" if entry.classes else torch.rand(3, *shape) if shape else None
    steps = {"steps": 5} if model.latents.stepwise else {}
    samples = model.sample(3, condition, seed=0, **steps)
    assert samples.shape[0] == 3 and bool(samples.isfinite().all())


def test_digits_on_demand():
    nines = vaezoo.load("cvae-mnist").sample(16, condition=9, seed=0)
    assert nines.shape == (16, 1, 28, 28)
    from vaezoo_cvae.classifier import load

    with torch.no_grad():
        assert (load().logits(nines).argmax(-1) == 9).sum() >= 14


@pytest.mark.filterwarnings("ignore:.* is deprecated")
def test_all_are_verified_by_two_readings_and_are_small(monkeypatch, capfd):
    """The files are hashed once to verify them and once to load them; no data set is read."""
    hashed, sha256 = Counter(), hashlib.sha256

    def counting_sha256(data=b""):
        if len(data) in sizes:
            hashed[len(data)] += 1
        return sha256(data)

    listed = [
        entry
        for registry in open_registries()
        for entry in (*registry.entries, *registry.features)
        if entry.status != "revoked"
    ]
    sizes = Counter(file.size for entry in listed for file in entry.files)
    monkeypatch.setattr("vaezoo.pretrained.cache.hashlib.sha256", counting_sha256)
    monkeypatch.setattr(Run, "data", lambda *_: pytest.fail("a data set was read"))
    monkeypatch.setattr(Run, "evaluate", lambda *_: pytest.fail("metrics were measured"))
    assert cli.main(["weights", "verify", "--all"], prog_name="vaezoo", standalone_mode=False) == 0
    assert capfd.readouterr().err.count("bytes, verified") == len(listed)
    assert hashed == Counter({size: 2 * count for size, count in sizes.items()})
    assert sum(entry.size for entry in ENTRIES) < 60e6


def test_the_two_smallest_are_measured_again():
    compared = []
    for entry in sorted(ENTRIES, key=lambda each: each.size):
        try:
            compared.append(remeasure(RegistryEntry(OWN, entry)))
        except (DataError, UnavailableError):  # its data is not on this machine
            continue
        if len(compared) == 2:
            break
    assert len(compared) == 2
    assert [row for rows in compared for row in rows if not row.agrees] == []


def is_weights(name):
    return name.endswith(".safetensors")


def test_the_weights_are_a_package_of_their_own(tmp_path):
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    options = ["--no-deps", "--no-build-isolation"]
    made = [*pip, "wheel", *options, "-w", tmp_path, ROOT, ROOT / "weights"]
    subprocess.run([str(word) for word in made], check=True, capture_output=True)
    core, data = sorted(tmp_path.glob("*.whl"))
    names = set(zipfile.ZipFile(core).namelist())
    assert "vaezoo/utils/packaged_files/registry.yaml" in names
    assert core.stat().st_size < 2_000_000 and not any(map(is_weights, names))
    held = set(zipfile.ZipFile(data).namelist())
    files = [file for entry in (*ENTRIES, *OWN.features) for file in entry.files]
    paths = [*(file.sources[0] for file in files), *(entry.spec.path for entry in ENTRIES)]
    assert {f"vaezoo_weights/{path}" for path in paths} <= held
    for wheel in (core, data):
        install = [*pip, "install", "--no-deps", "--target", tmp_path / wheel.name[:-4], wheel]
        subprocess.run([str(word) for word in install], check=True, capture_output=True)
    lines = 'import vaezoo; print(vaezoo.load("vae-mnist-conv").sample(2, seed=0).shape)'
    for wheels, says in (
        ([core], "are a package of their own; pip install vaezoo-weights"),
        ([core, data], "[2, 1, 28, 28]"),
    ):
        path = os.pathsep.join(str(tmp_path / wheel.name[:-4]) for wheel in wheels)
        done = subprocess.run(
            [sys.executable, "-c", lines],
            env={**os.environ, "PYTHONPATH": path, "VAEZOO_HOME": str(tmp_path / "home")},
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert says in done.stdout + done.stderr, done.stderr


def test_stored_halves_are_computed_in_single_precision():
    for entry in ENTRIES[:2]:
        assert {p.dtype for p in vaezoo.load(entry.id).parameters()} == {torch.float32}


def test_the_card_says_what_a_condition_without_a_name_is():
    from vaezoo.pretrained.card import usage_example

    lines = {each.id: "\n".join(usage_example(each, "lab:")) for each in ENTRIES}
    assert 'vaezoo.load("lab:vae-mnist-mlp")' in lines["vae/mnist-mlp@2"]
    (entry,) = (each for each in ENTRIES if each.id == "vae/mnist-mlp@2")
    old = "\n".join(usage_example(entry.model_copy(update={"status": "deprecated"})))
    assert 'vaezoo.load("vae-mnist-mlp@2")' in old
    assert "condition = torch.rand(16, 4, 28, 28)" in lines["cvae/colored-mnist@1"]
    assert (
        'vaezoo.load("lab:cvae-quadrants-mnist").sample(16, condition=condition)'
        in lines["cvae/quadrants-mnist@1"]
    )
    assert (
        'sample(16, condition="9")' in lines["cvae/mnist@2"]
        and "condition" not in lines["vae/mnist@2"]
    )
