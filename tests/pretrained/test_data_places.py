"""A registry of somebody else does not choose what is read here, and publishing names no place."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest

import vaezoo
from vaezoo.data.datasets.torchvision import import_torchvision
from vaezoo.pretrained.finding import find_entry
from vaezoo.runs.checking import remeasure, reproduce
from vaezoo.runs.entry_fields import _public_argument
from vaezoo.runs.opening import open_entry, open_run, open_weights
from vaezoo.runs.publishing import publish
from vaezoo.spec.dump import dump
from vaezoo.spec.load import load_spec
from vaezoo.utils.errors import DataError, RegistryError, UnavailableError

MODEL = {
    "latent_dim": 2,
    "encoder": {"type": "mlp", "hidden": [4]},
    "decoder": {"type": "mlp", "hidden": [4]},
    "likelihood": "normal",
}


@pytest.fixture
def npz_run(tmp_path, monkeypatch):
    """A run on a file in a folder of this machine."""
    monkeypatch.delenv("VAEZOO_DATA", raising=False)
    file = tmp_path / "private folder" / "measured.npz"
    file.parent.mkdir()
    np.savez(file, x=np.random.default_rng(0).normal(size=(100, 3)).astype(np.float32))
    spec = {
        "spec": "vaezoo/v2",
        "name": "small",
        "data": {"type": "npz", "path": str(file)},
        "model": MODEL,
        "train": {"steps": 2},
        "evaluate": ["elbo"],
    }
    return vaezoo.run(spec, out=tmp_path / "private runs")


@pytest.fixture
def lab(npz_run, tmp_path, about):
    publish(npz_run, "vae/npz@1", tmp_path / "lab", about)
    return tmp_path / "lab"


def lab_entry(lab):
    return find_entry("lab:vae/npz@1", [str(lab)])


def change_spec(lab, **blocks):
    """Replaces blocks of the published spec, as a stranger could have published it."""
    path = lab / "weights/vae-npz-1/spec.yaml"
    before = path.read_bytes()
    resolved = load_spec(before.decode(), text=True).resolved() | blocks
    path.write_bytes(dump(resolved).encode())
    text = (lab / "registry.yaml").read_text()
    for old, new in (
        (hashlib.sha256(before).hexdigest(), hashlib.sha256(path.read_bytes()).hexdigest()),
        (f"size: {len(before)}}}", f"size: {path.stat().st_size}}}"),
    ):
        assert old in text
        text = text.replace(old, new)
    (lab / "registry.yaml").write_text(text)


def test_what_publish_writes_names_no_path_of_the_machine(lab, npz_run, tmp_path):
    for file in lab.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            for private in (str(tmp_path), "private", npz_run.path.name):
                assert private.encode() not in content, file
    entry = lab_entry(lab).weights
    assert json.loads(entry.preprocessing.data)["path"] == "measured.npz"
    assert "path: measured.npz" in (lab / "weights/vae-npz-1/spec.yaml").read_text()


def test_the_data_of_an_entry_are_read_where_the_user_says(lab, npz_run, tmp_path, monkeypatch):
    run = open_weights("lab:vae/npz@1", extra_registries=[str(lab)])
    monkeypatch.chdir(tmp_path / "private folder")  # the working directory is no answer
    for call in (
        run.data,
        run.evaluate,
        lambda: remeasure(lab_entry(lab)),
        lambda: reproduce(lab_entry(lab), tmp_path / "out", print),
    ):
        with pytest.raises(UnavailableError, match=r"is 'measured.npz'.*set VAEZOO_DATA"):
            call()
    monkeypatch.setenv("VAEZOO_DATA", str(tmp_path / "private folder"))
    monkeypatch.chdir(tmp_path)
    assert len(run.data()) == len(npz_run.data())
    assert all(comparison.agrees for comparison in remeasure(lab_entry(lab)))
    again, comparisons = reproduce(lab_entry(lab), tmp_path / "out", print)
    assert again.path.is_dir() and all(comparison.agrees for comparison in comparisons)


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/etc/{}", UnavailableError),
        ("~/{}", UnavailableError),
        ("../private folder/{}", UnavailableError),
        ("C:\\\\data\\\\{}", UnavailableError),
        ("{}", UnavailableError),
    ],
)
def test_a_path_of_another_machine_opens_nothing_there(lab, tmp_path, monkeypatch, path, error):
    (tmp_path / "run here").mkdir()
    monkeypatch.chdir(tmp_path / "run here")
    path = path.format("measured.npz").replace("\\\\", "\\")
    if path.startswith("/"):
        path = str(tmp_path / "private folder" / "measured.npz")
    change_spec(lab, data={"type": "npz", "path": path})
    run = open_entry(lab_entry(lab))
    with pytest.raises(error, match="set VAEZOO_DATA"):
        run.data()
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("VAEZOO_DATA", str(tmp_path / "empty"))
    with pytest.raises(DataError, match=f"no {tmp_path / 'empty' / 'measured.npz'}"):
        open_entry(lab_entry(lab)).data()


@pytest.mark.parametrize("path", ["a/./b", "nul", "a b:c", "a\x07"])
def test_a_path_that_no_registry_may_name_is_refused(lab, tmp_path, monkeypatch, path):
    change_spec(lab, data={"type": "npz", "path": path})
    monkeypatch.setenv("VAEZOO_DATA", str(tmp_path))
    with pytest.raises(RegistryError, match="of its data has"):
        open_entry(lab_entry(lab)).data()


def test_a_download_creates_no_folder_that_an_entry_names(lab, tmp_path, monkeypatch):
    roots = []

    class Recorded(import_torchvision().datasets.FakeData):
        def __init__(self, root, download):
            roots.append((root, download))
            super().__init__(size=50)

    monkeypatch.setattr(import_torchvision().datasets, "FakeData", Recorded)
    target = tmp_path / "planted" / "folder"
    change_spec(
        lab,
        data={"type": "torchvision", "name": "FakeData", "root": str(target), "download": True},
    )
    with pytest.raises(UnavailableError, match="set VAEZOO_DATA"):
        open_entry(lab_entry(lab)).data()
    assert not roots
    monkeypatch.setenv("VAEZOO_DATA", str(tmp_path / "mine"))
    with pytest.raises(DataError, match="the shape of its examples is"):
        open_entry(lab_entry(lab)).data()
    assert {root for root, _ in roots} == {str(tmp_path / "mine" / "folder")}


def test_metrics_of_an_entry_read_no_file_of_its_choice(lab, tmp_path):
    metric = {"type": "vaezoo-cvae:conditional-accuracy", "classifier": str(tmp_path / "c.st")}
    change_spec(lab, data={"type": "digits"}, evaluate=["elbo", metric])
    with pytest.raises(UnavailableError, match=r"is 'c.st'.*set VAEZOO_DATA"):
        open_entry(lab_entry(lab)).evaluate()


def test_a_run_of_the_user_reads_what_its_spec_says(npz_run):
    assert len(open_run(npz_run.path, device="cpu").data()) > 0


@pytest.mark.parametrize(
    ("typed", "public"),
    [
        ("/home/me/a b.yaml", "a b.yaml"),
        ("data.path=/home/me/a.npz", "data.path=a.npz"),
        ("--set=data.path=~/a.npz", "--set=data.path=a.npz"),
        ("data.path=../secret project/a.npz", "data.path=a.npz"),
        ("../../secret/a.yaml", "a.yaml"),
        ("C:\\Users\\me\\a.yaml", "a.yaml"),
        ("init=[{from: /home/me/runs/x, strict: false}]", "init=[{from: x, strict: false}]"),
        ("data={type: npz, path: '/home/me/a.npz'}", "data={type: npz, path: 'a.npz'}"),
        ("--registry=lab=https://host/zoo/registry.yaml", None),
        ("name=a/b", None),
        ("train.epochs=1", None),
    ],
)
def test_arguments_lose_the_folders_of_the_machine(typed, public):
    assert _public_argument(typed) == (typed if public is None else public)
